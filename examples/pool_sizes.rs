//! Pools of four and of five workers, with a few more tasks than workers; the results are collected afterwards.
//!
//! The order of its output: as written, whichever task ended first, because each result is asked for by its task, in the
//! order of the tasks, and all of them are there after `join`. Which worker runs which task is not said: it varies.

use std::{collections::BTreeSet, error::Error, thread::sleep, time::Duration};

use pool::ProcessPool;

fn task(number: u32) -> (u32, u32) {
    sleep(Duration::from_millis(50));
    (number * number, std::process::id())
}

fn main() -> Result<(), Box<dyn Error>> {
    for (n_workers, n_tasks) in [(4, 5), (4, 6), (5, 6)] {
        println!("A pool of {n_workers} is given {n_tasks} tasks.");
        let pool = ProcessPool::new(n_workers)?;
        let tasks: Vec<_> = (0..n_tasks).map(|number| pool.apply_async(task, (number,))).collect();
        println!("Waiting for all tasks...");
        // No more tasks; and wait until all are done.
        pool.close();
        pool.join()?;
        let mut workers = BTreeSet::new();
        for (number, task) in tasks.iter().enumerate() {
            let (square, worker) = task.get()?;
            workers.insert(worker);
            println!("Task {number} returned {square}.");
        }
        println!("All done, by no more than {n_workers} workers: {}.", workers.len() <= n_workers);
    }
    Ok(())
}
