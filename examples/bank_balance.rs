//! Money that comes and goes: under a lock the balance is right in the end.

use std::sync::Arc;

use proc_core::thread::{Builder, current};
use sync::thread::Lock;

fn change(balance: &Lock<i64>, n: i64) {
    let mut balance = balance.lock();
    // In between the balance is wrong, and nobody can see it.
    *balance += n;
    *balance -= n;
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let balance = Arc::new(Lock::new(0));
    let mut threads = Vec::new();
    for n in [5, 8] {
        let balance = Arc::clone(&balance);
        threads.push(Builder::new().name(format!("customer with {n}")).spawn(move || {
            (0..100_000).for_each(|_| change(&balance, n));
            current().name().to_owned()
        })?);
    }
    for thread in threads {
        println!("The {} is done.", thread.join()?);
    }
    println!("The balance is {}.", balance.lock());
    Ok(())
}
