//! A pool of the default size, one worker for each CPU, on a function that sleeps: its workers sleep at the same time.
//!
//! The order of its output: as written, since each line waits for what it tells of. The times are the machine's: never
//! less than the sleep for the first, about that over the number of CPUs for the second.

use std::{
    error::Error,
    thread::sleep,
    time::{Duration, Instant},
};

use pool::ProcessPool;
use proc_core::cpu_count;

fn nap(milliseconds: u64) -> u64 {
    sleep(Duration::from_millis(milliseconds));
    milliseconds
}

fn main() -> Result<(), Box<dyn Error>> {
    let naps = vec![100; 2 * cpu_count()];
    let begun = Instant::now();
    let slept: u64 = naps.iter().map(|time| nap(*time)).sum();
    println!("One after the other: {slept} ms of sleep in {} ms.", begun.elapsed().as_millis());

    let pool = ProcessPool::builder().build()?;
    println!("There is a worker for each CPU: {}.", pool.n_workers() == cpu_count());
    let begun = Instant::now();
    let slept: u64 = pool.map(nap, naps)?.into_iter().sum();
    println!("In the pool: {slept} ms of sleep in {} ms.", begun.elapsed().as_millis());
    Ok(())
}
