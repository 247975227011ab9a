//! One ticket, three buyers: without a lock it is sold three times, with a lock once.

use std::io;

use proc_core::{Process, shm::Shared};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use sync::process::{Barrier, Lock};

/// All look before anybody takes: that can happen whenever nothing keeps them from it.
fn buy_without_lock(tickets: Shared<AtomicU32>, buyer: String, everybody: Barrier) -> bool {
    let left = tickets.load(SeqCst);
    everybody.wait().expect("nobody leaves the queue");
    if left == 0 {
        println!("{buyer} found no ticket.");
        return false;
    }
    tickets.store(left - 1, SeqCst);
    println!("{buyer} bought a ticket.");
    true
}

fn buy_with_lock(tickets: Lock<u32>, buyer: String) -> bool {
    let mut tickets = tickets.lock().expect("no buyer dies at the counter");
    if *tickets == 0 {
        println!("{buyer} found no ticket.");
        return false;
    }
    *tickets -= 1;
    println!("{buyer} bought a ticket.");
    true
}

fn count(buyers: impl Iterator<Item = Result<Process<bool>, proc_core::ProcessError>>) -> io::Result<usize> {
    let started: Result<Vec<_>, _> = buyers.collect();
    let sold = started.map_err(io::Error::other)?.into_iter().map(|buyer| buyer.join().map_err(io::Error::other));
    Ok(sold.collect::<io::Result<Vec<bool>>>()?.into_iter().filter(|sold| *sold).count())
}

fn main() -> io::Result<()> {
    let (names, everybody) = (["Ann", "Bob", "Cid"], Barrier::new(3)?);
    let tickets = Shared::new(AtomicU32::new(1))?;
    let spawn = |name: &str| Process::spawn(buy_without_lock, (tickets.clone(), name.into(), everybody.clone()));
    println!("Without a lock, one ticket was sold {} times.", count(names.iter().map(|name| spawn(name)))?);

    let tickets = Lock::new(1)?;
    let spawn = |name: &str| Process::spawn(buy_with_lock, (tickets.clone(), name.into()));
    println!("With a lock, one ticket was sold {} time.", count(names.iter().map(|name| spawn(name)))?);
    Ok(())
}
