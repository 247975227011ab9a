//! What this process does when it exits, in which order.

use std::sync::{Mutex, Once};

use kernel::{at_fork, sys::at_exit};

use crate::lock::lock;

/// The stages of a process's exit, in their order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stage {
    /// Threads may need the children.
    Threads,
    /// Before the children: a supervisor would start them anew.
    Supervisors,
    Children,
    ForkServer,
}

const N_STAGES: usize = Stage::ForkServer as usize + 1;

type Step = fn();

/// Each with the generation of forks that it is for: a forked child does not run its parent's steps.
static STEPS: Mutex<[Option<(u32, Step)>; N_STAGES]> = Mutex::new([None; N_STAGES]);

/// Registers `step` for that stage of the exit: it is called once, however often this is called.
pub(crate) fn register(stage: Stage, step: Step) {
    static AT_EXIT: Once = Once::new();
    AT_EXIT.call_once(|| at_exit::register(run));
    lock(&STEPS)[stage as usize] = Some((at_fork::generation(), step));
}

fn run() {
    for stage in 0..N_STAGES {
        // A step may register another one for a later stage.
        let step = lock(&STEPS)[stage];
        if let Some((_, step)) = step.filter(|(generation, _)| *generation == at_fork::generation()) {
            step();
        }
    }
}
