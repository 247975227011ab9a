//! What happens before what, by each of the locks: threads use plain memory, ordered by nothing else. A count that is wrong
//! shows a lock that is none; a missing ordering shows under ThreadSanitizer (`cargo xtask sanitize thread sync`).
//!
//! # Safety
//! The memory is a cell that only these tests reach.
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{cell::UnsafeCell, time::Duration};

use test_support::watchdog;

const THREADS: usize = 3;
const TIMES: usize = 300;
const LIMIT: Duration = Duration::from_secs(120);

#[derive(Default)]
struct Memory(UnsafeCell<usize>);

// SAFETY: the lock under test orders what is done with it.
unsafe impl Sync for Memory {}

impl Memory {
    fn add(&self) {
        // SAFETY: the lock under test lets nobody else in.
        unsafe { *self.0.get() += 1 }
    }

    fn get(&self) -> usize {
        // SAFETY: the lock under test lets nobody in who writes.
        unsafe { *self.0.get() }
    }
}

/// Several threads, each with its number.
fn threads(work: impl Fn(usize) + Sync) {
    let _dog = watchdog(LIMIT);
    let work = &work;
    std::thread::scope(|scope| (0..THREADS).for_each(|n| drop(scope.spawn(move || work(n)))));
}

macro_rules! unwrapped {
    ($value:expr) => {
        $value.unwrap()
    };
}

macro_rules! plain {
    ($value:expr) => {
        $value
    };
}

macro_rules! orders {
    ($scope:ident, $ok:ident) => {
        mod $scope {
            use super::*;
            use crate::$scope::{Barrier, Condvar, Event, Lock, RLock, RwLock, Semaphore};

            #[test]
            fn holders_of_a_lock() {
                let (memory, lock) = (Memory::default(), $ok!(Lock::new(0)));
                threads(|_| {
                    for _ in 0..TIMES {
                        let _guard = $ok!(lock.lock());
                        memory.add();
                    }
                });
                assert_eq!(memory.get(), THREADS * TIMES);
            }

            #[test]
            fn holders_of_an_rlock() {
                let (memory, lock) = (Memory::default(), $ok!(RLock::new(0)));
                threads(|_| {
                    for _ in 0..TIMES {
                        let _guards = ($ok!(lock.lock()), $ok!(lock.lock()));
                        memory.add();
                    }
                });
                assert_eq!(memory.get(), THREADS * TIMES);
            }

            #[test]
            fn writers_and_readers() {
                let (memory, lock) = (Memory::default(), $ok!(RwLock::new(0)));
                threads(|n| {
                    let mut seen = 0;
                    for _ in 0..TIMES {
                        if n == 0 {
                            let _guard = $ok!(lock.write());
                            memory.add();
                        } else {
                            let _guard = $ok!(lock.read());
                            assert!(memory.get() >= seen);
                            seen = memory.get();
                        }
                    }
                });
                assert_eq!(memory.get(), TIMES);
            }

            #[test]
            fn who_waits_for_a_condition() {
                let (memory, lock, changed) = (Memory::default(), $ok!(Lock::new(0)), $ok!(Condvar::new()));
                threads(|n| {
                    for round in 0..TIMES {
                        let mut turn = $ok!(lock.lock());
                        while *turn != round * THREADS + n {
                            turn = $ok!(changed.wait(turn));
                        }
                        memory.add();
                        *turn += 1;
                        changed.notify_all();
                    }
                });
                assert_eq!(memory.get(), THREADS * TIMES);
            }

            #[test]
            fn who_sets_and_who_waits_for_an_event() {
                let memory = Memory::default();
                let events: Vec<_> = (0..=THREADS * 20).map(|_| $ok!(Event::new())).collect();
                events[0].set();
                threads(|n| {
                    for at in (n..THREADS * 20).step_by(THREADS) {
                        assert!($ok!(events[at].wait()));
                        memory.add();
                        events[at + 1].set();
                    }
                });
                assert_eq!(memory.get(), THREADS * 20);
            }

            #[test]
            fn holders_of_the_only_permit() {
                let (memory, semaphore) = (Memory::default(), $ok!(Semaphore::new(1)));
                threads(|_| {
                    for _ in 0..TIMES {
                        let _permit = semaphore.acquire();
                        memory.add();
                    }
                });
                assert_eq!(memory.get(), THREADS * TIMES);
            }

            #[test]
            fn who_comes_to_a_barrier_and_who_leaves_it() {
                let (memory, barrier) = (Memory::default(), $ok!(Barrier::new(THREADS as u32)));
                threads(|n| {
                    for round in 0..TIMES {
                        if round % THREADS == n {
                            memory.add();
                        }
                        barrier.wait().unwrap();
                    }
                });
                assert_eq!(memory.get(), TIMES);
            }
        }
    };
}

orders!(process, unwrapped);
orders!(thread, plain);
