//! The tour of `multiprocessing.Pool` in Python's documentation.
//!
//! The order of its output: line 1 is in order of the input (`map`); the ten lines after it are in the order in which
//! the workers finish (`imap_unordered`), any order, each number once; from there on, each line waits for its own task,
//! so they stand as written. The four pids name one to four workers: which worker takes a task is the pool's business.

use std::{process, thread, time::Duration};

use pool::{ProcessPool, TaskError};

fn f(x: u64) -> u64 {
    x * x
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = ProcessPool::new(4)?;

    println!("{:?}", pool.map(f, 0..10)?);

    for square in pool.imap_unordered(f, 0..10) {
        println!("{}", square?);
    }

    let task = pool.apply_async(f, (20,));
    println!("{}", task.get_timeout(Duration::from_secs(10))?);

    let task = pool.apply_async(process::id, ());
    println!("a worker's pid: {}", task.get()?);

    let tasks: Vec<_> = (0..4).map(|_| pool.apply_async(process::id, ())).collect();
    let pids = tasks.iter().map(|task| task.get()).collect::<Result<Vec<_>, _>>()?;
    println!("four tasks ran in {pids:?}");

    // A wait that is too short: the task itself goes on, until the pool is dropped.
    let task = pool.apply_async(|| thread::sleep(Duration::from_secs(10)), ());
    match task.get_timeout(Duration::from_millis(100)) {
        Err(TaskError::TimedOut) if !task.ready() => println!("we lacked patience and got a time-out"),
        other => println!("unexpected: {other:?}"),
    }

    println!("for the moment, the pool remains available for more work");
    drop(pool);
    println!("now the pool is terminated: {}", task.get().expect_err("it was not done"));
    Ok(())
}
