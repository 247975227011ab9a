//! Two threads count together: without a lock additions get lost, with a lock none does.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use proc_core::thread::{self, ThreadError};
use sync::thread::Lock;

const ROUNDS: u64 = 1_000_000;

fn main() -> Result<(), ThreadError> {
    // Rust does not let threads race on a plain number; this does the same as one: look, and then write.
    let counter = Arc::new(AtomicU64::new(0));
    let count =
        |counter: Arc<AtomicU64>| move || (0..ROUNDS).for_each(|_| counter.store(counter.load(Relaxed) + 1, Relaxed));
    let both = [thread::spawn(count(counter.clone())), thread::spawn(count(counter.clone()))];
    for thread in both {
        thread.join()?;
    }
    let lost = 2 * ROUNDS - counter.load(Relaxed);
    println!("Without a lock {lost} of {} additions were lost.", 2 * ROUNDS);

    let counter = Arc::new(Lock::new(0));
    let count = |counter: Arc<Lock<u64>>| move || (0..ROUNDS).for_each(|_| *counter.lock() += 1);
    let both = [thread::spawn(count(counter.clone())), thread::spawn(count(counter.clone()))];
    for thread in both {
        thread.join()?;
    }
    println!("With a lock {} of {} additions were lost.", 2 * ROUNDS - *counter.lock(), 2 * ROUNDS);
    Ok(())
}
