//! A lock that its holder may take again: a locked function calls another one.

use std::{cell::Cell, sync::Arc};

use proc_core::thread::{self, ThreadError};
use sync::thread::RLock;

fn add(total: &RLock<Cell<u32>>, n: u32) {
    let total = total.lock();
    total.set(total.get() + n);
}

fn add_twice(total: &RLock<Cell<u32>>, n: u32) {
    // Nobody else gets in between the two.
    let held = total.lock();
    let before = held.get();
    add(total, n);
    add(total, n);
    assert_eq!(held.get(), before + 2 * n);
}

fn main() -> Result<(), ThreadError> {
    let total = Arc::new(RLock::new(Cell::new(0)));
    let threads = [1, 10, 100].map(|n| {
        let total = Arc::clone(&total);
        thread::spawn(move || (0..100).for_each(|_| add_twice(&total, n)))
    });
    for thread in threads {
        thread.join()?;
    }
    println!("The total is {}.", total.lock().get());
    Ok(())
}
