//! Workers with an initializer, each replaced after two tasks.
//!
//! The order of its output: every "starting" comes before the results of the worker that says it, because a worker
//! takes no task before its initializer is done. Besides the first two, at least three more workers start, for ten
//! tasks at two each; when their lines come among the others is up to them. The results stand in order.

use std::{cell::Cell, process};

use pool::ProcessPool;
use proc_core::current_process;

thread_local! {
    static FACTOR: Cell<u64> = const { Cell::new(0) };
}

fn start_process(factor: u64) {
    println!("starting {}", current_process().name());
    FACTOR.set(factor);
}

fn calculate(n: u64) -> (u64, u32) {
    (n * FACTOR.get(), process::id())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = ProcessPool::builder()
        .name("PoolWorker")
        .workers(2)
        .initializer(start_process, (2,))
        .max_tasks_per_child(2)
        .build()?;
    let results = pool.map(calculate, 0..10)?;
    pool.close();
    pool.join()?;

    println!("doubled: {:?}", results.iter().map(|(product, _)| product).collect::<Vec<_>>());
    let mut pids: Vec<_> = results.iter().map(|(_, pid)| pid).collect();
    pids.sort();
    assert!(pids.chunk_by(|a, b| a == b).all(|tasks| tasks.len() <= 2));
    pids.dedup();
    println!("ten tasks by {} workers", pids.len());
    Ok(())
}
