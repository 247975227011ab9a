//! *Empty*, *full* and *closed* are exact, whoever else is slow, stopped or dead.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use ipc::{GetError, Queue, TryGetError, TryPutError};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use proc_core::Process;

/// A pseudo-random number.
fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

#[test]
fn whoever_has_put_finds_a_message() {
    for capacity in [4, 5, 64, 1024] {
        let queue = Queue::<u64>::new(capacity).unwrap();
        thread::scope(|scope| {
            for who in 0..4 {
                let queue = &queue;
                scope.spawn(move || {
                    for n in 0..5_000 {
                        // There is room: each thread has one message in the queue at most.
                        assert_eq!(queue.try_put(who << 32 | n), Ok(()));
                        assert!(queue.try_get().is_ok(), "empty after a put");
                    }
                });
            }
        });
        assert_eq!(queue.try_get(), Err(TryGetError::Empty));
    }
}

#[test]
fn whoever_has_taken_finds_room() {
    let queue = Queue::<(u64, u64, u64)>::new(4).unwrap();
    queue.put_many((0..4).map(|n| (n, n, n))).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..5_000 {
                    assert!(queue.try_get().is_ok(), "empty, and nobody has more than one message");
                    assert_eq!(queue.try_put((n, n, n)), Ok(()), "full after a get");
                }
            });
        }
    });
    assert_eq!(queue.try_put((0, 0, 0)), Err(TryPutError::Full((0, 0, 0))));
}

/// Puts and gets until it is killed.
fn work(queue: Queue<Vec<u8>>) {
    for n in 0.. {
        let len = [1, 30, 300, 3000][n % 4];
        let _ = queue.try_put(vec![0; len]);
        let _ = queue.try_get();
    }
}

/// Some processes are stopped wherever they happen to be; the queue serves the others as if they were not there.
#[test]
fn processes_that_were_stopped_anywhere_hold_up_nobody() {
    let mut seed = 7;
    for round in 0..40 {
        let queue = Queue::<Vec<u8>>::new([1, 4, 300][round % 3]).unwrap();
        let workers: Vec<_> =
            (0..3).map(|_| Process::builder().daemon(true).spawn(work, (queue.clone(),)).unwrap()).collect();
        // So that they are at work.
        while queue.get().unwrap().len() != 300 {}
        for worker in &workers {
            (0..random(&mut seed) % 20_000).for_each(|_| std::hint::spin_loop());
            kill(Pid::from_raw(worker.pid().cast_signed()), Signal::SIGSTOP).unwrap();
        }
        // A stop is complete when the kernel says so.
        for worker in &workers {
            while !is_stopped(worker.pid()) {
                thread::yield_now();
            }
        }
        let left = queue.drain().count();
        assert!(left <= queue.maxsize());
        assert_eq!(queue.len(), 0);
        for n in 0..3 * queue.maxsize() {
            queue.try_put(vec![n as u8; 400]).unwrap();
            assert_eq!(queue.try_get().unwrap(), vec![n as u8; 400]);
        }
        for n in 0..queue.maxsize() {
            queue.try_put(vec![n as u8; 20]).unwrap();
        }
        assert!(matches!(queue.try_put(vec![]), Err(TryPutError::Full(_))));
        queue.close();
        assert_eq!(queue.iter().count(), queue.maxsize());
        assert!(matches!(queue.get(), Err(GetError::Closed)));
        for worker in workers {
            worker.kill().unwrap();
        }
    }
}

fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

/// Of the messages whose `put` succeeds all are got, of the others none, and nothing comes after the end.
#[test]
fn closing_is_one_moment_for_everybody() {
    for round in 0..400 {
        let queue = Queue::<(u64, u64)>::new([1, 2, 3, 8][round % 4]).unwrap();
        let (put, got) = (AtomicU64::new(0), AtomicU64::new(0));
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for who in 0..2 {
                let (queue, put, over) = (&queue, &put, &over);
                scope.spawn(move || {
                    for n in 0.. {
                        let was_over = over.load(Relaxed);
                        if queue.put((who, n)).is_err() {
                            break;
                        }
                        assert!(!was_over, "a put after somebody has seen the end");
                        put.fetch_add(1, Relaxed);
                    }
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    while queue.get().is_ok() {
                        got.fetch_add(1, Relaxed);
                    }
                    over.store(true, Relaxed);
                    assert_eq!(queue.try_get(), Err(TryGetError::Closed));
                });
            }
            while got.load(Relaxed) < round as u64 {
                thread::yield_now();
            }
            queue.close();
        });
        assert_eq!(put.load(Relaxed), got.load(Relaxed));
        assert!(queue.get_timeout(Duration::ZERO).is_err());
    }
}

/// Processes that put and end leave messages, and nothing else: neither they nor what they used run out.
#[test]
fn messages_of_more_processes_than_there_is_room_for_that_have_ended_are_there() {
    let queue = Queue::<(u64, String)>::new(4096).unwrap();
    for n in 0..1100 {
        let put = |queue: Queue<(u64, String)>, n: u64| queue.put((n, "x".repeat(n as usize % 700))).unwrap();
        Process::spawn(put, (queue.clone(), n)).unwrap().join().unwrap();
    }
    for n in 0..1100 {
        assert_eq!(queue.get().unwrap(), (n, "x".repeat(n as usize % 700)));
    }
    assert!(queue.is_empty());
}
