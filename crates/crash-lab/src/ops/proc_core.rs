//! Processes: whoever starts one, waits for one, serves the starts of others, or comes to its end.

use proc_core::{ForkServer, Process, ProcessError, StartMethod, preloaded};
use test_support::{processes, step};

use crate::{
    cast::patience,
    ledger::Ledger,
    operation::{Operation, Role, Row, Verdict},
    stopwatch::Stopwatch,
};

/// Counter: a function ran.
const RAN: usize = 0;
/// Counter: a server has begun to load.
const LOADED: usize = 1;

pub(crate) fn operations() -> Vec<Box<dyn Row>> {
    vec![start(), join(), exit(), server(), preload()]
}

/// The owner is killed while it starts a child that means to stay.
fn start() -> Box<dyn Row> {
    const STATES: &[&str] = &["forkserver", "first", "spawn", "fork"];
    let operation = Operation::new(
        "process/start",
        STATES,
        |_, _| (),
        |(), ledger, state, mark| {
            let method = match state {
                "spawn" => StartMethod::Spawn,
                "fork" => StartMethod::Fork,
                _ => StartMethod::ForkServer,
            };
            if state == "forkserver" {
                warm_up();
            }
            mark.window(|| {
                let process = Process::builder().start_method(method).spawn(stay, (ledger.clone(),));
                std::mem::forget(process.expect("nothing stands in the way of a start"));
            });
        },
        |(), ledger, _| {
            if ledger.get(RAN) > 1 {
                return Err(format!("one start, and {} ran", ledger.get(RAN)));
            }
            works()
        },
    );
    operation.opaque().boxed()
}

/// The owner is killed while it waits for a child's value.
fn join() -> Box<dyn Row> {
    let operation = Operation::new(
        "process/join",
        &["value"],
        |_, _| (),
        |(), ledger, _, mark| {
            let process = Process::spawn(count, (ledger.clone(),)).expect("nothing stands in the way of a start");
            // One that is not joined is seen to by a thread, which has its own needs.
            drop(Process::spawn(|| (), ()));
            let value = mark.window(|| process.join().expect("it returns"));
            assert_eq!(value, 9);
        },
        |(), ledger, _| if ledger.get(RAN) <= 1 { works() } else { Err("it ran twice".into()) },
    );
    operation.opaque().boxed()
}

/// A child is killed on its way from the end of its function to the end of itself.
fn exit() -> Box<dyn Row> {
    const STATES: &[&str] = &["value", "large", "panic"];
    let operation = Operation::new("process/exit", STATES, |_, _| (), |(), _, _, _| (), |(), _, _| works());
    let operation = operation.with(Role::Launcher, |(), ledger, state| {
        let process = Process::builder().env("RUST_BACKTRACE", "0").spawn(finish, (ledger.clone(), state.to_owned()));
        let process = process.map_err(|e| e.to_string())?;
        match (process.join(), state) {
            (Ok(value), "value" | "large") if value == value_of(state) => {}
            (Err(ProcessError::Panicked { message, .. }), "panic") if message == "as asked" => {}
            (Err(ProcessError::Signaled { .. }), _) => {}
            (Err(_), _) if ledger.has_faults() => {}
            (other, _) => return Err(format!("joined, and got {other:?}")),
        }
        works()
    });
    operation.opaque().boxed()
}

/// The fork server is killed while it serves, or the spare child that it keeps ready while that becomes a process.
fn server() -> Box<dyn Row> {
    const STATES: &[&str] = &["server", "spare"];
    let operation = Operation::new("process/fork-server", STATES, |_, _| (), |(), _, _, _| (), |(), _, _| works());
    let operation = operation.with(Role::Launcher, |(), ledger, state| {
        warm_up();
        let (server, spare) = server_and_spare()?;
        ledger.stand_ready(if state == "server" { server } else { spare }, false)?;
        match Process::spawn(count, (ledger.clone(),)) {
            Ok(process) => match (process.join(), ledger.get(RAN)) {
                (Ok(9), 1) => {}
                (Err(ProcessError::Signaled { .. }), 0 | 1) if state == "spare" => {}
                (Err(_), 0 | 1) if ledger.has_faults() => {}
                (value, ran) => return Err(format!("started, ran {ran} times, and ended with {value:?}")),
            },
            Err(e) if ledger.get(RAN) != 0 => return Err(format!("{e}; but it ran")),
            Err(_) => {}
        }
        // More starts than there were spares: the server is needed.
        let works = || works().and_then(|()| works());
        // What the server could not do is said to whoever would have had the spare.
        let mut begun = Stopwatch::start();
        while let Err(e) = works() {
            if !ledger.has_faults() || begun.elapsed() > patience() / 2 {
                return Err(e);
            }
        }
        Ok(())
    });
    operation.opaque().boxed()
}

/// A fork server that loads first is killed while it comes from its loader to its children, or while it serves. The next start
/// replaces it, with what it loads.
fn preload() -> Box<dyn Row> {
    const STATES: &[&str] = &["load", "server"];
    let operation = Operation::nothing("process/preload", STATES).with(Role::Launcher, |(), ledger, state| {
        let server = ForkServer::builder().preload(load, (ledger.clone(), state == "load")).build();
        let server = match server {
            Ok(server) => server,
            Err(_) if ledger.has_faults() => return works(),
            Err(e) => return Err(format!("a load that was killed once did not begin anew: {e}")),
        };
        let found = || {
            let process = Process::builder().fork_server(&server).spawn(|| preloaded::<u64>().copied(), ());
            match process.and_then(Process::join) {
                Ok(Some(9)) => Ok(()),
                Err(_) if ledger.has_faults() => Ok(()),
                other => Err(format!("started from a server that has loaded: {other:?}")),
            }
        };
        if state == "server" {
            ledger.stand_ready(server.pid().ok_or("a server that has loaded has ended")?, false)?;
        }
        // More than there are spares.
        (0..4).try_for_each(|_| found())?;
        drop(server);
        works()
    });
    operation.boxed()
}

fn load(ledger: Ledger, is_victim: bool) -> u64 {
    if is_victim && ledger.raise(LOADED, 1) == 0 {
        ledger.stand_ready(std::process::id(), true).expect("somebody watches");
        step::breakpoint();
    }
    9
}

/// The server is the eldest, then comes the spare that is used next, and one more, when the server comes to it.
fn server_and_spare() -> Result<(u32, u32), String> {
    let mut begun = Stopwatch::start();
    loop {
        let children = processes::children(std::process::id().cast_signed());
        match children[..] {
            [server, spare, _] => return Ok((server.cast_unsigned(), spare.cast_unsigned())),
            _ if begun.elapsed() < patience() => std::thread::yield_now(),
            _ => return Err(format!("a server and two spares, not {children:?}")),
        }
    }
}

/// Whoever is left can start processes.
pub(super) fn works() -> Verdict {
    match Process::spawn(|| 7, ()).and_then(Process::join) {
        Ok(7) => Ok(()),
        other => Err(format!("a later process: {other:?}")),
    }
}

fn warm_up() {
    works().expect("nothing stands in the way of a start");
}

fn stay(ledger: Ledger) {
    ledger.add(RAN);
    loop {
        std::thread::park();
    }
}

fn count(ledger: Ledger) -> u64 {
    ledger.add(RAN);
    9
}

fn finish(ledger: Ledger, state: String) -> String {
    ledger.stand_ready(std::process::id(), true).expect("somebody watches");
    let value = value_of(&state);
    step::breakpoint();
    assert!(state != "panic", "as asked");
    value
}

fn value_of(state: &str) -> String {
    "value".repeat(if state == "large" { 2000 } else { 1 })
}
