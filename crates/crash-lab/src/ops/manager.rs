//! `ipc::Manager`: a call happens or it does not, whoever dies of the caller and the server; the others go on, or are
//! told.

use std::fs;

use ipc::{Counter, Manager, ManagerError};
use proc_core::Process;
use test_support::step;

use crate::{
    cast::patience,
    ledger::Ledger,
    operation::{Operation, Role, Row, Verdict},
};

/// Counters: calls of the victim begun and done.
const BEGUN: usize = 0;
const DONE: usize = 1;

pub(crate) fn operations() -> Vec<Box<dyn Row>> {
    vec![call(), serve()]
}

/// The caller is killed.
fn call() -> Box<dyn Row> {
    fn client(counter: Counter, ledger: Ledger, state: String) {
        if state == "later" {
            counter.get().expect("the server is there");
        }
        ledger.stand_ready(std::process::id(), true).expect("somebody watches");
        step::breakpoint();
        ledger.add(BEGUN);
        counter.add(1).expect("the server is there");
        ledger.add(DONE);
        ledger.over();
    }
    let operation = Operation::nothing("manager/call", &["first", "later"]);
    let operation = operation.with(Role::Launcher, |(), ledger, state| {
        let manager = Manager::new().map_err(text)?;
        let counter = manager.counter(0).map_err(text)?;
        let client = Process::spawn(client, (counter.clone(), ledger.clone(), state.to_owned())).map_err(text)?;
        let _ = client.wait_timeout(5 * patience());
        let (begun, done) = (ledger.get(BEGUN) as i64, ledger.get(DONE) as i64);
        let count = counter.get().map_err(text)?;
        if !(done..=begun).contains(&count) {
            return Err(format!("{count} where {done} calls of {begun} were done"));
        }
        works(&manager)
    });
    operation.boxed()
}

/// The server is killed: the thread that takes in new callers, or one that does what a caller wants.
fn serve() -> Box<dyn Row> {
    fn call_once(counter: Counter) -> bool {
        matches!(counter.add(1), Ok(_) | Err(ManagerError::Closed))
    }
    let operation = Operation::nothing("manager/serve", &["door", "caller"]);
    let operation = operation.with(Role::Launcher, |(), ledger, state| {
        let manager = Manager::new().map_err(text)?;
        let counter = manager.counter(0).map_err(text)?;
        let server = manager.pid().ok_or("the manager has no server")?;
        let is_fine = if state == "door" {
            ledger.stand_ready(server, false)?;
            Process::spawn(call_once, (counter.clone(),)).and_then(Process::join).map_err(text)?
        } else {
            ledger.stand_ready(youngest_thread(server).ok_or("the server has no threads")?, false)?;
            call_once(counter.clone())
        };
        if !is_fine {
            return Err("a call of a dead server neither happened nor said so".into());
        }
        match counter.get() {
            Ok(0 | 1) | Err(ManagerError::Closed) => works(&Manager::new().map_err(text)?),
            other => Err(format!("a later call: {other:?}")),
        }
    });
    operation.boxed()
}

fn works(manager: &Manager) -> Verdict {
    let counter = manager.counter(5).map_err(text)?;
    match counter.add(2) {
        Ok(7) => Ok(()),
        other => Err(format!("five and two: {other:?}")),
    }
}

/// Threads are numbered as they come.
fn youngest_thread(pid: u32) -> Option<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    threads.filter_map(|thread| thread.ok()?.file_name().to_str()?.parse().ok()).max()
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}
