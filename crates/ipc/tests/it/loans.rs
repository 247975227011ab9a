//! Values that are written and read where the queue has them.

use std::{fs, os::unix::fs::MetadataExt, path::PathBuf};

use ipc::{GetError, Plain, PutError, Queue};
use proc_core::handover;
use test_support::watchdog;

const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// A number and so many pixels.
type Frame<const N: usize> = (u128, [u32; N]);

#[derive(Plain, Debug)]
#[repr(align(64))]
struct Line(#[allow(dead_code, reason = "only its place is looked at")] [u64; 8]);

/// There and back, by way of another process, which changes nothing but its own loan.
fn negatives<const N: usize>(from: Queue<Frame<N>>, to: Queue<Frame<N>>) {
    while let Ok(frame) = from.get_loan_value() {
        let mut negative = to.loan_value().unwrap();
        negative.0 = frame.0;
        for (there, here) in negative.1.iter_mut().zip(&frame.1) {
            *there = !here;
        }
        negative.send().unwrap();
    }
}

fn values_cross_processes<const N: usize>() {
    let _dog = watchdog(LIMIT);
    let queue = || Queue::<Frame<N>>::builder().maxsize(3).build_plain().unwrap();
    let (there, back) = (queue(), queue());
    let child = crate::spawn(negatives::<N>, (there.clone(), back.clone())).unwrap();
    for number in 0..50 {
        let mut frame = there.loan_value().unwrap();
        *frame = (number, [number as u32; N]);
        frame.send().unwrap();
        let frame = back.get_loan_value().unwrap();
        assert_eq!(*frame, (number, [!(number as u32); N]));
    }
    there.close();
    child.join().unwrap();
}

/// Copied, in each class of blocks, and in one of its own.
#[test]
fn values_of_all_sizes_cross_processes() {
    values_cross_processes::<1>();
    values_cross_processes::<100>();
    values_cross_processes::<200>();
    values_cross_processes::<1200>();
    values_cross_processes::<20_000>();
}

#[test]
fn values_lie_at_their_alignment() {
    fn check<T: Plain>(values: usize) {
        let queue = Queue::<T>::builder().build_plain().unwrap();
        let loans: Vec<_> = (0..values).map(|_| queue.loan_value().unwrap()).collect();
        assert!(loans.iter().all(|loan| std::ptr::from_ref(&**loan).is_aligned()));
        loans.into_iter().for_each(|loan| loan.send().unwrap());
        let received: Vec<_> = (0..values).map(|_| queue.get_loan_value().unwrap()).collect();
        assert!(received.iter().all(|value| std::ptr::from_ref(&**value).is_aligned()));
    }
    check::<Line>(100);
    check::<[Line; 10]>(100);
    check::<[Line; 100]>(20);
    check::<[Line; 10_000]>(3);
}

#[test]
fn a_loan_that_is_dropped_is_no_message() {
    let queue = Queue::<u64>::new(2).unwrap();
    *queue.loan_value().unwrap() = 1;
    assert!(queue.is_empty());
    let mut loan = queue.loan_value().unwrap();
    *loan = 2;
    loan.send().unwrap();
    assert_eq!(*queue.get_loan_value().unwrap(), 2);
    let late = queue.loan_value().unwrap();
    queue.close();
    assert_eq!(late.send(), Err(PutError::Closed(())));
    assert!(matches!(queue.get_loan_value(), Err(GetError::Closed)));
}

#[test]
fn a_message_of_another_length_is_an_error_and_the_next_one_is_read() {
    let queue = Queue::<u64>::new(0).unwrap();
    let wide: Queue<[u64; 300]> = handover::pack_owned(&queue).unwrap().unpack().unwrap();
    wide.loan_value().unwrap().send().unwrap();
    queue.put_bytes(b"short").unwrap();
    queue.put_bytes(&7_u64.to_ne_bytes()).unwrap();
    let error = queue.get_loan_value().unwrap_err();
    assert!(error.to_string().contains("a message of 2400 bytes is no u64"), "{error}");
    assert!(matches!(queue.get_loan_value(), Err(GetError::Decode(_))));
    assert_eq!(*queue.get_loan_value().unwrap(), 7);
}

#[test]
fn nothing_is_a_value_too() {
    let queue = Queue::<()>::new(0).unwrap();
    queue.loan_value().unwrap().send().unwrap();
    queue.get_loan_value().unwrap();
    assert!(queue.is_empty());
}

const LOAN_BYTES: usize = 256 << 10;

fn borrow_and_die(queue: Queue<u8>) {
    let loans: Vec<_> = (0..4).map(|_| queue.loan(LOAN_BYTES).unwrap()).collect();
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
    drop(loans);
}

/// The bytes of all memory files that are open here, after so many have died.
fn memory_after_deaths(n: usize) -> u64 {
    let queue = Queue::<u8>::new(0).unwrap();
    for _ in 0..n {
        crate::spawn(borrow_and_die, (queue.clone(),)).unwrap().join().unwrap_err();
    }
    // All that they had is there to be used again.
    drop((0..4).map(|_| queue.loan(LOAN_BYTES).unwrap()).collect::<Vec<_>>());
    let is_of_memory =
        |fd: &PathBuf| fs::read_link(fd).is_ok_and(|file| file.to_string_lossy().contains("memfd:ipc-queue"));
    let fds = fs::read_dir("/proc/self/fd").unwrap().map(|fd| fd.unwrap().path()).filter(is_of_memory);
    fds.map(|fd| fs::metadata(fd).unwrap().blocks() * 512).sum()
}

/// Nobody waits here, so that nobody would look for the dead.
#[test]
fn what_the_dead_had_borrowed_is_lent_before_the_queue_takes_more() {
    let _dog = watchdog(LIMIT);
    let bytes = crate::spawn(memory_after_deaths, (80,)).unwrap().join().unwrap();
    assert!((1..200 * LOAN_BYTES as u64).contains(&bytes), "{bytes} bytes after 320 loans were left by the dead");
}
