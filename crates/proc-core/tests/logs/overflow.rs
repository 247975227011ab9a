//! An owner that does not take its children's records.

use std::{sync::atomic::AtomicU64, sync::atomic::Ordering::SeqCst, time::Duration};

use proc_core::{LogOverflow, Process, shm::Shared};

use crate::{alone, logger};

const N: u64 = 20_000;

fn flood(returned: Shared<AtomicU64>) {
    for n in 0..N {
        log::info!(target: "gate", "{n} {}", "x".repeat(100));
        returned.store(n + 1, SeqCst);
    }
}

/// A flood at a shut gate ends; returns the numbers that came, and how many are said to be missing.
fn at_a_shut_gate(overflow: LogOverflow) -> (Vec<u64>, u64) {
    logger::shut(true);
    let returned = Shared::new(AtomicU64::new(0)).unwrap();
    let builder = Process::builder().log_overflow(overflow);
    let process = builder.spawn(flood, (returned.clone(),)).unwrap();
    let pid = process.pid();
    // The owner's logger hangs in the first record: nothing but the child's own patience lets it end.
    process.wait().unwrap();
    assert_eq!(returned.load(SeqCst), N);
    logger::shut(false);
    process.drain_output();
    process.join().unwrap();
    let (mut came, mut missing) = (Vec::new(), 0);
    for seen in logger::of(pid) {
        match seen.message.split_once(" records dropped") {
            Some((n, _)) => missing += n.parse::<u64>().unwrap(),
            None => came.push(seen.message.split(' ').next().unwrap().parse().unwrap()),
        }
    }
    (came, missing)
}

#[test]
fn dropped_records_are_counted() {
    let _alone = alone();
    let (came, missing) = at_a_shut_gate(LogOverflow::Drop);
    assert!(came.is_sorted() && came.len() > 100, "{} came", came.len());
    assert_eq!(came.len() as u64 + missing, N);
}

#[test]
fn a_child_waits_no_longer_than_it_is_to_and_only_once() {
    let _alone = alone();
    let (came, missing) = at_a_shut_gate(LogOverflow::Wait(Duration::from_millis(30)));
    assert!(came.is_sorted() && missing > 0);
    assert_eq!(came.len() as u64 + missing, N);
}

#[test]
fn with_a_little_patience_nothing_is_dropped() {
    let _alone = alone();
    let returned = Shared::new(AtomicU64::new(0)).unwrap();
    let process =
        Process::builder().log_overflow(LogOverflow::Wait(Duration::from_secs(60))).spawn(flood, (returned,)).unwrap();
    let pid = process.pid();
    process.join().unwrap();
    let seen = logger::of(pid);
    assert_eq!(seen.len() as u64, N);
    assert!(seen.iter().zip(0..N).all(|(seen, n)| seen.message.starts_with(&format!("{n} "))));
}

#[test]
fn a_join_does_not_wait_for_a_logger_that_hangs() {
    let _alone = alone();
    logger::shut(true);
    // The thread that forwards hangs in this one.
    let first = Process::builder().name("hangs").spawn(|| log::info!(target: "gate", "1"), ()).unwrap();
    first.wait().unwrap();
    let second = Process::builder().name("other").spawn(|| log::info!("2"), ()).unwrap();
    second.join().unwrap();
    logger::shut(false);
    assert_eq!(logger::wait_for("hangs", 1).len(), 1);
    assert_eq!(logger::wait_for("other", 1).len(), 1);
}
