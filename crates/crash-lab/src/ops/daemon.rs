//! Daemons: whoever of the three processes dies during a start, nobody hangs, at most one daemon runs, and the pid file
//! is the next one's.

use std::{os::unix::process::parent_id, path::PathBuf, time::Duration};

use proc_core::daemon::{DaemonError, Daemonize, Ready, pid_of};
use test_support::step;

use crate::{
    cast::patience,
    driver::scratch_file,
    operation::{Operation, Role, Row, Verdict},
    stopwatch::Stopwatch,
};

/// Counters: the victim's daemon ran; the start has returned.
const RAN: usize = 0;
const DONE: usize = 1;

pub(crate) fn operations() -> Vec<Box<dyn Row>> {
    vec![launch(), run()]
}

/// One for each driver: its children ask.
fn pid_file() -> PathBuf {
    scratch_file(parent_id())
}

fn daemonize(pid_file: PathBuf, life: impl FnOnce(&Ready)) -> Result<u32, DaemonError> {
    Daemonize::new().pid_file(pid_file).run(|ready| {
        life(ready);
        Ok::<(), String>(())
    })
}

/// The launcher is killed.
fn launch() -> Box<dyn Row> {
    let operation = Operation::new(
        "daemon/launch",
        &["pid-file"],
        |_, _| (),
        |(), ledger, _, mark| {
            let pid_file = pid_file();
            mark.window(|| {
                let started = daemonize(pid_file, |ready| {
                    ledger.add(RAN);
                    ready.notify();
                });
                started.expect("nothing stands in the way of a daemon");
                ledger.add(DONE);
            });
        },
        |(), ledger, _| {
            let (ran, done) = (ledger.get(RAN), ledger.get(DONE));
            if ran > 1 || ran < done { Err(format!("one daemon, and {ran} ran")) } else { another_works() }
        },
    );
    operation.opaque().boxed()
}

/// The daemon is killed between its first word and its end, or the process between the two while the launcher waits.
fn run() -> Box<dyn Row> {
    let operation = Operation::nothing("daemon/run", &["daemon", "between"]);
    let operation = operation.with(Role::Launcher, |(), ledger, state| {
        // That of the experiment before may be about to end.
        let started = once_alone(&mut patient(), |ready| {
            let victim = if state == "daemon" { std::process::id() } else { parent_id() };
            ledger.stand_ready(victim, state == "daemon").expect("somebody watches");
            if state == "daemon" {
                step::breakpoint();
            }
            ready.notify();
        });
        match started {
            Ok(_) | Err(DaemonError::Ended { .. }) => another_works(),
            Err(e) => Err(e.to_string()),
        }
    });
    operation.boxed()
}

/// Whether to look again, a millisecond later.
fn patient() -> impl FnMut() -> bool {
    let mut begun = Stopwatch::start();
    move || {
        std::thread::sleep(Duration::from_millis(1));
        begun.elapsed() < patience() / 2
    }
}

/// Starts a daemon as soon as the one before is gone.
fn once_alone(wait: &mut impl FnMut() -> bool, life: impl Fn(&Ready)) -> Result<u32, DaemonError> {
    loop {
        match daemonize(pid_file(), &life) {
            Err(DaemonError::AlreadyRunning { .. }) if wait() => {}
            outcome => return outcome,
        }
    }
}

/// As soon as the one before is gone; and then nothing is left of either.
fn another_works() -> Verdict {
    let mut wait = patient();
    once_alone(&mut wait, Ready::notify).map_err(|e| format!("another daemon: {e}"))?;
    while pid_of(pid_file()).map_err(|e| e.to_string())?.is_some() || pid_file().exists() {
        if !wait() {
            return Err("a daemon has ended, and its pid file is left".into());
        }
    }
    Ok(())
}
