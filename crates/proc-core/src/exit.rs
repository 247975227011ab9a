//! What this process does when it exits, in which order.

use std::sync::{
    Mutex, Once,
    atomic::{
        AtomicU32,
        Ordering::{Acquire, Release},
    },
};

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

/// The generation of forks in which each step was registered: a forked child does not run its parent's steps. Not under the lock:
/// a process that takes a lock after a fork copies the page that it lies on. Stored by `Release` after the step, and loaded by
/// `Acquire`.
static REGISTERED_IN: [AtomicU32; N_STAGES] = [const { AtomicU32::new(NEVER) }; N_STAGES];
const NEVER: u32 = u32::MAX;

static STEPS: Mutex<[Option<Step>; N_STAGES]> = Mutex::new([None; N_STAGES]);

/// Registers `step`, the only one of that stage of the exit: it is called once, however often this is called.
pub(crate) fn register(stage: Stage, step: Step) {
    static AT_EXIT: Once = Once::new();
    let (registered_in, generation) = (&REGISTERED_IN[stage as usize], at_fork::generation());
    if registered_in.load(Acquire) != generation {
        AT_EXIT.call_once(|| at_exit::register(run));
        lock(&STEPS)[stage as usize] = Some(step);
        registered_in.store(generation, Release);
    }
}

fn run() {
    // A step may register another one for a later stage.
    for (stage, registered_in) in REGISTERED_IN.iter().enumerate() {
        if registered_in.load(Acquire) == at_fork::generation() {
            let step = lock(&STEPS)[stage];
            step.into_iter().for_each(|step| step());
        }
    }
}
