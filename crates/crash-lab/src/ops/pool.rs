//! `pool::ProcessPool`: a dead worker costs the task that it was at, or nothing if that may be tried again; a dead owner
//! leaves nobody behind.

use std::time::Duration;

use pool::{ProcessPool, TaskError};
use test_support::step;

use crate::{
    cast::patience,
    ledger::Ledger,
    operation::{Operation, Role, Row, Verdict},
};

/// Counter: how often the task ran.
const RAN: usize = 0;

pub(crate) fn operations() -> Vec<Box<dyn Row>> {
    vec![finish(), claim(), submit(), limits()]
}

fn pool(state: &str) -> Result<ProcessPool, String> {
    let n_retries = if state.starts_with("retried") { 2 } else { 0 };
    let pool = ProcessPool::builder().workers(1).retries(n_retries).build().map_err(|e| e.to_string())?;
    works(&pool)?;
    Ok(pool)
}

fn works(pool: &ProcessPool) -> Verdict {
    match pool.map(|n: u64| n + 1, 0..4) {
        Ok(values) if values == [1, 2, 3, 4] => Ok(()),
        other => Err(format!("a later map: {other:?}")),
    }
}

/// What became of the task, and that the pool goes on.
fn check(pool: &ProcessPool, task: pool::Task<String>, ledger: &Ledger, state: &str) -> Verdict {
    let value = task.get_timeout(3 * patience());
    let ran = ledger.get(RAN);
    match &value {
        Ok(value) if *value == value_of(state) => {}
        Err(TaskError::Panicked { message, .. }) if state == "panic" && message == "as asked" => {}
        Err(TaskError::WorkerDied { .. }) if !state.starts_with("retried") => {}
        Err(_) if ledger.has_faults() => {}
        other => return Err(format!("the task ran {ran} times, and came to {other:?}")),
    }
    if ran > 1 && !state.starts_with("retried") {
        return Err(format!("ran {ran} times where once at most was promised"));
    }
    // The victim may have been on to the first of these when it died.
    works(pool).or_else(|_| works(pool))?;
    pool.close();
    pool.join().map_err(|e| e.to_string())
}

fn value_of(state: &str) -> String {
    "value".repeat(if state == "large" { 2000 } else { 1 })
}

/// The worker is killed between the end of a task and its rest.
fn finish() -> Box<dyn Row> {
    fn task(ledger: Ledger, state: String) -> String {
        ledger.add(RAN);
        if ledger.get(RAN) == 1 {
            ledger.stand_ready(std::process::id(), true).expect("somebody watches");
            step::breakpoint();
        }
        assert!(state != "panic", "as asked");
        value_of(&state)
    }
    let operation = Operation::nothing("pool/finish", &["value", "large", "retried"]);
    let operation = operation.with(Role::Launcher, |(), ledger, state| {
        let pool = pool(state)?;
        let handle = pool.apply_async(task, (ledger.clone(), state.to_owned()));
        check(&pool, handle, ledger, state)
    });
    operation.boxed()
}

/// The worker is killed between its rest and the next.
fn claim() -> Box<dyn Row> {
    fn task(ledger: Ledger, state: String) -> String {
        ledger.add(RAN);
        value_of(&state)
    }
    let operation = Operation::nothing("pool/claim+run", &["value", "retried"]);
    let operation = operation.with(Role::Launcher, |(), ledger, state| {
        let pool = pool(state)?;
        let worker = pool.apply(std::process::id, ()).map_err(|e| e.to_string())?;
        ledger.stand_ready(worker, false)?;
        let handle = pool.apply_async(task, (ledger.clone(), state.to_owned()));
        check(&pool, handle, ledger, state)
    });
    operation.boxed()
}

/// The owner is killed while it hands out work and waits for it.
fn submit() -> Box<dyn Row> {
    let operation = Operation::new(
        "pool/apply",
        &["value"],
        |_, _| (),
        |(), _, state, mark| {
            let pool = pool(state).expect("nothing stands in the way of a pool");
            mark.window(|| assert_eq!(pool.apply(|n: u64| n * 2, (4,)).expect("nobody dies but the owner"), 8));
        },
        |(), _, state| works(&pool(state)?),
    );
    operation.opaque().boxed()
}

/// The owner is killed while it waits for a task that goes beyond its time or its memory, and ends it.
fn limits() -> Box<dyn Row> {
    fn endless() {
        loop {
            std::thread::park();
        }
    }
    fn greedy() {
        let mut hoard = Vec::new();
        loop {
            hoard.push(vec![1u8; 1 << 20]);
            std::hint::black_box(&mut hoard);
        }
    }
    let operation = Operation::new(
        "pool/limits",
        &["time", "memory"],
        |_, _| (),
        |(), ledger, state, mark| {
            let builder = ProcessPool::builder().workers(1);
            let builder = if state == "time" {
                builder.task_timeout(Duration::from_millis(30))
            } else {
                builder.memory_limit(32 << 20)
            };
            let pool = builder.build().expect("nothing stands in the way of a pool");
            works(&pool).expect("a fresh pool works");
            mark.window(|| {
                let end = if state == "time" { pool.apply(endless, ()) } else { pool.apply(greedy, ()) };
                match end {
                    Err(TaskError::TimedOut) if state == "time" => {}
                    Err(TaskError::MemoryLimit) if state == "memory" => {}
                    Err(_) if ledger.has_faults() => {}
                    other => panic!("the task came to {other:?}"),
                }
            });
        },
        |(), _, state| works(&pool(state)?),
    );
    operation.opaque().boxed()
}
