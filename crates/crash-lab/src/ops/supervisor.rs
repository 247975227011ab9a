//! Supervisors: children die with the process that supervises them, whatever it was doing.

use std::{fs, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use proc_core::{
    Process, ProcessError,
    supervisor::{ChildInfo, ChildSpec, Supervisor},
};

use crate::{
    ledger::Ledger,
    operation::{Operation, Role, Row},
};

pub(crate) fn operations() -> Vec<Box<dyn Row>> {
    vec![start(), restart()]
}

fn supervise_two() -> Supervisor {
    let child = |id: &str| ChildSpec::new(id, stay, ());
    let supervisor = Supervisor::builder().child(child("first")).child(child("second")).start();
    supervisor.expect("nothing stands in the way of two processes")
}

fn stay() {
    loop {
        std::thread::park();
    }
}

/// Killed while it starts two children.
fn start() -> Box<dyn Row> {
    let operation = Operation::new(
        "supervisor/start",
        &["two"],
        |_, _| (),
        |(), _, _, mark| std::mem::forget(mark.window(supervise_two)),
        |(), _, _| super::proc_core::works(),
    );
    operation.opaque().boxed()
}

/// Killed while its thread finds a child dead and starts it again.
fn restart() -> Box<dyn Row> {
    fn supervise(ledger: Ledger) {
        let supervisor = supervise_two();
        let children = supervisor.which_children();
        let first = children.ok().and_then(|children| children.first()?.pid).expect("it runs");
        // It names itself; it has answered, so it has.
        let thread = supervising_thread().expect("a supervisor has a thread");
        ledger.stand_ready(thread, false).expect("somebody watches");
        let _ = kill(Pid::from_raw(first.cast_signed()), Signal::SIGKILL);
        if !ledger.has_faults() {
            stay();
        }
        // It is restarted, or the supervisor has given up and stopped everybody.
        let is_restarted = |children: &[ChildInfo]| children[0].pid.is_some_and(|pid| pid != first);
        while supervisor.which_children().is_ok_and(|children| !is_restarted(&children)) {
            // Seldom enough that its thread falls asleep, which is the end of the window.
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let operation = Operation::nothing("supervisor/restart", &["two"]);
    let operation = operation.with(Role::Launcher, |(), ledger, _| {
        let supervisor = Process::spawn(supervise, (ledger.clone(),)).map_err(|e| e.to_string())?;
        match supervisor.join() {
            Err(ProcessError::Signaled { .. }) => super::proc_core::works(),
            Ok(()) if ledger.has_faults() => super::proc_core::works(),
            other => Err(format!("the supervisor was to be killed: {other:?}")),
        }
    });
    operation.boxed()
}

fn supervising_thread() -> Option<u32> {
    let threads = fs::read_dir("/proc/self/task").ok()?.flatten();
    // The kernel keeps 15 letters.
    let is_it = |name: String| name.trim_end() == "proc-core-super";
    let mut threads = threads.filter(|thread| fs::read_to_string(thread.path().join("comm")).is_ok_and(is_it));
    threads.next()?.file_name().to_str()?.parse().ok()
}
