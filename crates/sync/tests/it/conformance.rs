//! What both scopes promise alike: run on threads, and that of the process scope between processes, too.

/// What `Result` the process scope wraps around; the thread scope needs none.
macro_rules! process_ok {
    ($value:expr) => {
        $value.unwrap()
    };
}
macro_rules! thread_ok {
    ($value:expr) => {
        $value
    };
}

/// Tests, and their list.
macro_rules! listed {
    ($($(#[doc = $doc:literal])* #[test] fn $name:ident() $body:block)*) => {
        $($(#[doc = $doc])* #[test] fn $name() $body)*

        #[allow(dead_code, reason = "that of one scope is used")]
        pub(crate) const ALL: &[(&str, fn())] = &[$((stringify!($name), $name)),*];
    };
}

/// Who runs a test's closures: other threads.
mod on_threads {
    use std::thread;

    /// Runs both at once, the second here.
    pub(super) fn both(a: impl FnOnce() + Send, b: impl FnOnce()) {
        thread::scope(|scope| {
            let a = scope.spawn(a);
            b();
            a.join().unwrap();
        });
    }

    pub(super) fn elsewhere(work: impl FnOnce() -> bool + Send) -> bool {
        thread::scope(|scope| scope.spawn(work).join().unwrap())
    }
}

/// Who runs a test's closures: forked children.
mod in_processes {
    use std::sync::atomic::Ordering::SeqCst;

    use crate::util::{Child, counter};

    /// Runs both at once, the second here.
    pub(super) fn both(a: impl FnOnce(), b: impl FnOnce()) {
        let child = Child::spawn(a);
        b();
        child.join();
    }

    pub(super) fn elsewhere(work: impl FnOnce() -> bool) -> bool {
        let answer = counter();
        Child::spawn(|| answer.store(work().into(), SeqCst)).join();
        answer.load(SeqCst) == 1
    }
}

macro_rules! conformance {
    ($name:ident, $scope:ident, $ok:ident, $actors:ident) => {
        pub(crate) mod $name {
            use std::{
                cell::Cell,
                sync::atomic::Ordering::SeqCst,
                thread,
                time::{Duration, Instant},
            };

            use sync::{BrokenBarrier, NotHolder, TooManyReleases, $scope::*};

            use super::$actors::{both, elsewhere};
            use crate::util::{SOON, counter, dog};

            const NONE: Duration = Duration::ZERO;
            const EVER: Duration = Duration::MAX;

            fn wait_for_a_waiter(barrier: &Barrier) {
                while barrier.n_waiting() == 0 {
                    thread::yield_now();
                }
            }

            listed! {
            #[test]
            fn lock_excludes() {
                let _dog = dog();
                let lock = $ok!(Lock::new((0u32, 0u32)));
                let count = || {
                    for _ in 0..10_000 {
                        let mut pair = $ok!(lock.lock());
                        assert_eq!(pair.0, pair.1);
                        pair.0 += 1;
                        pair.1 += 1;
                    }
                };
                both(count, count);
                assert!(!lock.is_locked());
                assert_eq!($ok!(lock.into_inner()).0, 20_000);
            }

            #[test]
            fn lock_is_tried_and_timed() {
                let _dog = dog();
                let lock = $ok!(Lock::new(0u32));
                let guard = $ok!(lock.try_lock()).unwrap();
                assert!(elsewhere(|| {
                    assert!($ok!(lock.try_lock()).is_none());
                    assert!($ok!(lock.lock_timeout(NONE)).is_none());
                    let begun = Instant::now();
                    $ok!(lock.lock_timeout(SOON)).is_none() && begun.elapsed() >= SOON
                }));
                both(|| drop($ok!(lock.lock_timeout(EVER)).unwrap()), move || drop(guard));
                assert!($ok!(lock.lock_timeout(NONE)).is_some());
            }

            #[test]
            fn mapped_guard_keeps_the_lock() {
                let lock = $ok!(Lock::new((0u32, 1u8)));
                let mut part = LockGuard::map($ok!(lock.lock()), |pair| &mut pair.1);
                *part += 1;
                assert!(lock.is_locked());
                drop(part);
                assert_eq!(*$ok!(lock.lock()), (0, 2));
            }

            #[test]
            fn rlock_counts_per_thread() {
                let _dog = dog();
                let lock = $ok!(RLock::new(Cell::new(0u32)));
                let outer = $ok!(lock.lock());
                let inner = $ok!(lock.lock_timeout(NONE)).unwrap();
                inner.set(1);
                drop(outer);
                assert!(elsewhere(|| $ok!(lock.try_lock()).is_none() && $ok!(lock.lock_timeout(SOON)).is_none()));
                drop(inner);
                assert!(elsewhere(|| $ok!(lock.lock()).get() == 1));
                assert_eq!($ok!(lock.into_inner()).get(), 1);
            }

            #[test]
            fn rlock_refuses_to_be_released_by_others() {
                let lock = $ok!(RLock::new(()));
                assert_eq!(lock.release(), Err(NotHolder));
                $ok!(lock.lock()).forget();
                $ok!(lock.lock()).forget();
                assert!(elsewhere(|| lock.release() == Err(NotHolder)));
                lock.release().unwrap();
                assert!(lock.is_locked());
                lock.release().unwrap();
                assert!(!lock.is_locked());
                let _guard = $ok!(lock.lock());
                assert_eq!(lock.release(), Err(NotHolder), "that is for the guard");
            }

            #[test]
            fn rwlock_lets_in_many_readers_or_one_writer() {
                let _dog = dog();
                let lock = $ok!(RwLock::new((0u32, 0u32)));
                let write = || {
                    for _ in 0..2_000 {
                        let mut pair = $ok!(lock.write());
                        pair.0 += 1;
                        pair.1 += 1;
                    }
                };
                let read = || {
                    for _ in 0..2_000 {
                        let pair = $ok!(lock.read());
                        assert_eq!(pair.0, pair.1);
                    }
                };
                both(|| both(read, write), || both(read, write));
                let (one, other) = ($ok!(lock.read()), $ok!(lock.read()));
                assert!(elsewhere(|| $ok!(lock.try_write()).is_none() && $ok!(lock.write_timeout(SOON)).is_none()));
                assert!(elsewhere(|| $ok!(lock.try_read()).is_some()));
                drop((one, other));
                let writer = $ok!(lock.write());
                assert!(elsewhere(|| $ok!(lock.try_read()).is_none() && $ok!(lock.read_timeout(SOON)).is_none()));
                drop(writer);
                assert_eq!($ok!(lock.into_inner()), (4_000, 4_000));
            }

            #[test]
            fn huge_timeouts_last_until_the_lock_is_free() {
                let _dog = dog();
                let (rlock, rwlock) = ($ok!(RLock::new(Cell::new(0u32))), $ok!(RwLock::new(0u32)));
                let (recursive, writer) = ($ok!(rlock.lock()), $ok!(rwlock.write()));
                let let_go = move || drop((recursive, writer));
                let read = || drop($ok!(rwlock.read_timeout(EVER)).unwrap());
                let write = || drop($ok!(rwlock.write_timeout(EVER)).unwrap());
                both(|| drop($ok!(rlock.lock_timeout(EVER)).unwrap()), || both(write, || both(read, let_go)));
                assert!($ok!(rlock.lock_timeout(NONE)).is_some());
                assert!($ok!(rwlock.write_timeout(NONE)).is_some());
                let reader = $ok!(rwlock.read_timeout(NONE)).unwrap();
                assert!(elsewhere(
                    || $ok!(rwlock.write_timeout(NONE)).is_none() && $ok!(rwlock.write_timeout(SOON)).is_none()
                ));
                drop(reader);
            }

            #[test]
            fn condvar_wakes_with_every_kind_of_lock() {
                let _dog = dog();
                let changed = $ok!(Condvar::new());
                let lock = $ok!(Lock::new(0u32));
                let wait = || drop($ok!(changed.wait_while($ok!(lock.lock()), |n| *n == 0)));
                both(wait, || {
                    *$ok!(lock.lock()) = 1;
                    changed.notify_one();
                });
                let rwlock = $ok!(RwLock::new(0u32));
                let wait = || drop($ok!(changed.wait_while($ok!(rwlock.write()), |n| *n == 0)));
                both(wait, || {
                    *$ok!(rwlock.write()) = 1;
                    changed.notify_all();
                });
                let wait = || {
                    let mut guard = $ok!(rwlock.read());
                    while *guard == 1 {
                        guard = $ok!(changed.wait(guard));
                    }
                };
                both(wait, || {
                    *$ok!(rwlock.write()) = 2;
                    changed.notify_all();
                });
            }

            #[test]
            fn mapped_and_downgraded_guards_keep_the_lock() {
                let _dog = dog();
                let rlock = $ok!(RLock::new((Cell::new(0u32), Cell::new([1u8; 2]))));
                let part = MappedRLockGuard::map(RLockGuard::map($ok!(rlock.lock()), |all| &all.1), |part| part);
                part.set([2; 2]);
                assert!(elsewhere(|| $ok!(rlock.try_lock()).is_none()));
                drop(part);
                assert!(elsewhere(|| $ok!(rlock.lock()).1.get() == [2; 2]));

                let lock = $ok!(RwLock::new((0u32, [1u8; 2])));
                let part = RwLockWriteGuard::map($ok!(lock.write()), |pair| &mut pair.1);
                let mut part = MappedRwLockWriteGuard::map(part, |part| &mut part[1]);
                *part = 7;
                assert!(elsewhere(|| $ok!(lock.try_read()).is_none()));
                drop(part);
                assert!(!lock.is_locked());
                let part = RwLockReadGuard::map($ok!(lock.read()), |pair| &pair.1);
                let part = MappedRwLockReadGuard::map(part, |part| &part[1]);
                assert!(lock.is_locked() && elsewhere(|| $ok!(lock.try_write()).is_none()));
                assert_eq!(*part, 7);
                drop(part);

                let mut writer = $ok!(lock.write());
                writer.0 = 5;
                let reader = RwLockWriteGuard::downgrade(writer);
                assert!(elsewhere(|| $ok!(lock.try_read()).is_some() && $ok!(lock.try_write()).is_none()));
                assert_eq!(reader.0, 5);
                drop(reader);
                assert!(!lock.is_locked() && $ok!(lock.try_write()).is_some());
            }

            #[test]
            fn nobody_writes_between_a_writer_and_the_reader_it_becomes() {
                let _dog = dog();
                let lock = $ok!(RwLock::new(0u32));
                let count = || {
                    for _ in 0..3_000 {
                        let mut writer = $ok!(lock.write());
                        *writer += 1;
                        let written = *writer;
                        assert_eq!(*RwLockWriteGuard::downgrade(writer), written);
                    }
                };
                both(|| both(count, count), || (0..3_000).for_each(|_| drop($ok!(lock.read()))));
                assert_eq!($ok!(lock.into_inner()), 6_000);
            }

            #[test]
            fn a_reader_reads_again_though_a_writer_waits() {
                let _dog = dog();
                let lock = $ok!(RwLock::new(0u32));
                let reader = $ok!(lock.read());
                let write = || *$ok!(lock.write()) = 1;
                both(write, || {
                    while elsewhere(|| $ok!(lock.try_read()).is_some()) {
                        thread::yield_now();
                    }
                    let again = $ok!(lock.read_recursive());
                    assert_eq!((*again, *reader), (0, 0));
                    drop((again, reader));
                });
                assert_eq!(*$ok!(lock.read_recursive()), 1);
            }

            #[test]
            fn deadlines_are_times_to_wait_until() {
                let _dog = dog();
                let (past, soon) = (Instant::now(), || Instant::now() + SOON);
                let (lock, rlock) = ($ok!(Lock::new(0u32)), $ok!(RLock::new(Cell::new(0u32))));
                let rwlock = $ok!(RwLock::new(0u32));
                assert!($ok!(lock.lock_deadline(past)).is_some() && $ok!(rlock.lock_deadline(past)).is_some());
                assert!($ok!(rwlock.read_deadline(past)).is_some() && $ok!(rwlock.write_deadline(past)).is_some());
                let held = ($ok!(lock.lock()), $ok!(rlock.lock()), $ok!(rwlock.write()));
                assert!(elsewhere(|| {
                    let begun = Instant::now();
                    assert!($ok!(lock.lock_deadline(soon())).is_none() && $ok!(rlock.lock_deadline(soon())).is_none());
                    assert!($ok!(rwlock.read_deadline(soon())).is_none());
                    assert!($ok!(rwlock.write_deadline(soon())).is_none());
                    begun.elapsed() >= 4 * SOON
                }));
                drop(held);
                let semaphore = $ok!(Semaphore::new(1));
                let permit = semaphore.acquire_deadline(past).unwrap();
                assert!(semaphore.acquire_deadline(soon()).is_none());
                drop(permit);
                assert!($ok!(BoundedSemaphore::new(0)).acquire_deadline(past).is_none());
                assert!($ok!(Barrier::new(2)).wait_deadline(soon()).is_err());
                let changed = $ok!(Condvar::new());
                let (guard, timeout) = $ok!(changed.wait_deadline($ok!(lock.lock()), soon()));
                assert!(timeout.timed_out());
                let (guard, timeout) = $ok!(changed.wait_deadline_while(guard, soon(), |n| *n == 0));
                assert!(timeout.timed_out() && *guard == 0);
            }

            #[test]
            fn guards_and_conditions_can_be_shared() {
                fn sync<T: Sync>(_: &T) {}
                fn unwind_safe<T: std::panic::UnwindSafe + std::panic::RefUnwindSafe>(_: &T) {}
                let (lock, rlock, rwlock) = ($ok!(Lock::new(0u32)), $ok!(RLock::new(0u32)), $ok!(RwLock::new(0u32)));
                sync(&$ok!(lock.lock()));
                sync(&LockGuard::map($ok!(lock.lock()), |n| n));
                sync(&$ok!(rlock.lock()));
                sync(&RLockGuard::map($ok!(rlock.lock()), |n| n));
                sync(&$ok!(rwlock.write()));
                sync(&RwLockWriteGuard::map($ok!(rwlock.write()), |n| n));
                sync(&$ok!(rwlock.read()));
                sync(&RwLockReadGuard::map($ok!(rwlock.read()), |n| n));
                unwind_safe(&($ok!(Condvar::new()), $ok!(Event::new()), $ok!(Barrier::new(1))));
                unwind_safe(&($ok!(Semaphore::new(1)), $ok!(BoundedSemaphore::new(1))));
            }

            #[test]
            fn a_recursive_lock_waits_for_a_condition_and_notifiers_learn_of_it() {
                let _dog = dog();
                let (lock, changed) = ($ok!(RLock::new(Cell::new(0u32))), $ok!(Condvar::new()));
                assert_eq!((changed.notify_one(), changed.notify_n(3), changed.notify_all()), (false, 0, 0));
                let wait = || {
                    let outer = $ok!(lock.lock());
                    let inner = $ok!(changed.wait_while($ok!(lock.lock()), |n| n.get() == 0));
                    assert_eq!((inner.get(), inner.recursion_count()), (1, 2));
                    let (inner, timeout) = $ok!(changed.wait_timeout_while(inner, SOON, |n| n.get() == 1));
                    assert!(timeout.timed_out());
                    drop((inner, outer));
                };
                both(wait, || {
                    // Until the waiter was asleep and has been woken.
                    while !{
                        let _guard = $ok!(lock.lock());
                        changed.notify_one()
                    } {
                        thread::yield_now();
                    }
                    $ok!(lock.lock()).set(1);
                    changed.notify_all();
                });
                let rwlock = $ok!(RwLock::new(3u32));
                assert_eq!(*$ok!(changed.wait_while($ok!(rwlock.read()), |n| *n == 0)), 3);
            }

            #[test]
            fn condvar_releases_all_levels_of_a_recursive_lock() {
                let _dog = dog();
                let (lock, changed) = ($ok!(RLock::new(Cell::new(0u32))), $ok!(Condvar::new()));
                let outer = $ok!(lock.lock());
                $ok!(lock.lock()).forget();
                let inner = $ok!(lock.lock());
                let notify = || {
                    $ok!(lock.lock()).set(1);
                    changed.notify_n(3);
                };
                both(notify, || {
                    let mut inner = inner;
                    while outer.get() == 0 {
                        inner = $ok!(changed.wait(inner));
                    }
                });
                lock.release().unwrap();
                assert!(lock.is_locked());
                drop(outer);
                assert!(!lock.is_locked());
            }

            #[test]
            fn condvar_times_out() {
                let (lock, changed) = ($ok!(Lock::new(0u32)), $ok!(Condvar::new()));
                for timeout in [NONE, SOON] {
                    let begun = Instant::now();
                    let (guard, result) = $ok!(changed.wait_timeout($ok!(lock.lock()), timeout));
                    assert!(result.timed_out() && begun.elapsed() >= timeout);
                    let (_guard, result) = $ok!(changed.wait_timeout_while(guard, timeout, |n| *n == 0));
                    assert!(result.timed_out());
                }
                let (guard, result) = $ok!(changed.wait_timeout_while($ok!(lock.lock()), NONE, |n| *n != 0));
                assert!(!result.timed_out());
                changed.notify_n(0);
                let notify = || {
                    *$ok!(lock.lock()) = 1;
                    changed.notify_one();
                };
                let wait = || {
                    let (guard, result) = $ok!(changed.wait_timeout_while($ok!(lock.lock()), EVER, |n| *n == 0));
                    assert!(*guard == 1 && !result.timed_out());
                };
                drop(guard);
                both(notify, wait);
            }

            #[test]
            fn event_lets_go_and_holds_back() {
                let _dog = dog();
                let event = $ok!(Event::new());
                assert!(!event.is_set() && !$ok!(event.wait_timeout(NONE)) && !$ok!(event.wait_timeout(SOON)));
                both(
                    || assert!($ok!(event.wait())),
                    || both(|| assert!($ok!(event.wait_timeout(EVER))), || event.set()),
                );
                event.set();
                assert!(event.is_set() && $ok!(event.wait()) && $ok!(event.wait_timeout(NONE)));
                event.clear();
                event.clear();
                assert!(!event.is_set() && !$ok!(event.wait_timeout(NONE)));
            }

            #[test]
            fn semaphore_admits_so_many() {
                let _dog = dog();
                let (semaphore, inside) = ($ok!(Semaphore::new(2)), counter());
                let work = || {
                    for _ in 0..2_000 {
                        let _permit = semaphore.acquire();
                        assert!(inside.fetch_add(1, SeqCst) < 2);
                        inside.fetch_sub(1, SeqCst);
                    }
                };
                both(work, || both(work, work));
                assert_eq!(semaphore.permits(), 2);
            }

            #[test]
            fn semaphore_is_tried_timed_and_released_elsewhere() {
                let _dog = dog();
                let semaphore = $ok!(Semaphore::new(1));
                semaphore.acquire_timeout(NONE).unwrap().forget();
                assert!(semaphore.try_acquire().is_none() && semaphore.acquire_timeout(NONE).is_none());
                let begun = Instant::now();
                assert!(semaphore.acquire_timeout(SOON).is_none() && begun.elapsed() >= SOON);
                both(
                    || {
                        semaphore.acquire().forget();
                        semaphore.acquire_timeout(EVER).unwrap().forget();
                    },
                    || semaphore.release(2).unwrap(),
                );
                semaphore.release(0).unwrap();
                assert_eq!(semaphore.permits(), 0);
                semaphore.release(u32::MAX).unwrap();
                assert_eq!(semaphore.release(1), Err(TooManyReleases));
            }

            #[test]
            fn bounded_semaphore_refuses_one_release_too_many() {
                let semaphore = $ok!(BoundedSemaphore::new(2));
                let permit = semaphore.acquire();
                assert_eq!(semaphore.release(2), Err(TooManyReleases));
                assert_eq!(semaphore.permits(), 1);
                drop(permit);
                assert_eq!(semaphore.release(1), Err(TooManyReleases));
            }

            #[test]
            fn barrier_lets_rounds_go_together() {
                let _dog = dog();
                let (barrier, arrivals) = ($ok!(Barrier::new(3)), counter());
                let (indices, actions) = (counter(), counter());
                let work = || {
                    for round in 1..=200 {
                        arrivals.fetch_add(1, SeqCst);
                        let index = barrier
                            .wait_with(|| {
                                actions.fetch_add(1, SeqCst);
                            })
                            .unwrap();
                        indices.fetch_add(index as u64, SeqCst);
                        assert!(arrivals.load(SeqCst) >= 3 * round);
                        assert_eq!(actions.load(SeqCst), round);
                        barrier.wait().unwrap();
                    }
                };
                both(work, || both(work, work));
                assert_eq!(indices.load(SeqCst), 200 * 3);
                assert_eq!((barrier.parties(), barrier.n_waiting(), barrier.is_broken()), (3, 0, false));
            }

            #[test]
            fn barrier_of_one_never_waits() {
                let barrier = $ok!(Barrier::new(1));
                assert_eq!(barrier.wait(), Ok(0));
                assert_eq!(barrier.wait_timeout(NONE), Ok(0));
            }

            #[test]
            fn barrier_aborted_is_broken_until_reset() {
                let _dog = dog();
                let barrier = $ok!(Barrier::new(2));
                both(
                    || assert_eq!(barrier.wait(), Err(BrokenBarrier)),
                    || {
                        wait_for_a_waiter(&barrier);
                        barrier.abort();
                    },
                );
                assert!(barrier.is_broken());
                assert_eq!(barrier.wait(), Err(BrokenBarrier));
                barrier.reset();
                assert!(!barrier.is_broken());
                let wait = || {
                    barrier.wait().unwrap();
                };
                both(wait, wait);
            }

            #[test]
            fn barrier_reset_sends_waiters_away_and_works_again() {
                let _dog = dog();
                let barrier = $ok!(Barrier::new(2));
                barrier.reset();
                both(
                    || assert_eq!(barrier.wait(), Err(BrokenBarrier)),
                    || {
                        wait_for_a_waiter(&barrier);
                        barrier.reset();
                    },
                );
                assert!(!barrier.is_broken());
                let wait = || {
                    barrier.wait_timeout(EVER).unwrap();
                };
                both(wait, wait);
            }

            #[test]
            fn barrier_breaks_by_a_timeout() {
                let _dog = dog();
                let barrier = $ok!(Barrier::new(3));
                both(
                    || assert_eq!(barrier.wait(), Err(BrokenBarrier)),
                    || {
                        wait_for_a_waiter(&barrier);
                        assert_eq!(barrier.wait_timeout(SOON), Err(BrokenBarrier));
                    },
                );
                assert!(barrier.is_broken());
                barrier.reset();
                assert_eq!(barrier.wait_timeout(NONE), Err(BrokenBarrier));
            }

            #[test]
            fn barrier_calls_the_action_of_a_timed_wait_and_counts_no_time_for_it() {
                let _dog = dog();
                let (barrier, called) = ($ok!(Barrier::new(2)), counter());
                let wait = || {
                    let action = || {
                        called.fetch_add(1, SeqCst);
                    };
                    barrier.wait_timeout_with(EVER, action).unwrap();
                };
                both(wait, wait);
                assert_eq!(called.load(SeqCst), 1);
                let alone = $ok!(Barrier::new(1));
                assert_eq!(alone.wait_timeout_with(NONE, || thread::sleep(SOON)), Ok(0));
                let never = || panic!("nobody else has come");
                assert_eq!(barrier.wait_timeout_with(SOON, never), Err(BrokenBarrier));
            }

            #[test]
            fn barrier_aborted_by_its_action_lets_nobody_through() {
                let _dog = dog();
                let barrier = $ok!(Barrier::new(2));
                let wait = || assert_eq!(barrier.wait_with(|| barrier.abort()), Err(BrokenBarrier));
                both(wait, wait);
                assert!(barrier.is_broken());
            }

            #[test]
            fn barrier_breaks_by_a_panicking_action() {
                let _dog = dog();
                let barrier = $ok!(Barrier::new(2));
                both(
                    || assert_eq!(barrier.wait(), Err(BrokenBarrier)),
                    || {
                        wait_for_a_waiter(&barrier);
                        let wait = || barrier.wait_with(|| std::panic::resume_unwind(Box::new("no")));
                        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(wait)).unwrap_err();
                        assert_eq!(panic.downcast_ref(), Some(&"no"));
                    },
                );
                assert!(barrier.is_broken());
            }
            }
        }
    };
}

conformance!(process, process, process_ok, on_threads);
conformance!(processes, process, process_ok, in_processes);
conformance!(thread, thread, thread_ok, on_threads);

mod threads_alone {
    use sync::thread::{Lock, RLock, RwLock, RwLockUpgradableReadGuard};

    #[test]
    fn values_become_locks() {
        assert_eq!((*Lock::from(1).lock(), *RLock::from(2).lock(), *RwLock::from(3).read()), (1, 2, 3));
        let mut rlock = RLock::<u8>::default();
        *rlock.get_mut() = 4;
        assert_eq!(*rlock.lock(), 4);
    }

    #[test]
    fn an_upgradable_reader_becomes_the_writer() {
        let lock = RwLock::new(1);
        let upgradable = lock.upgradable_read();
        assert!(lock.try_read().is_some() && lock.try_write().is_none());
        *RwLockUpgradableReadGuard::upgrade(upgradable) += 1;
        assert_eq!(lock.into_inner(), 2);
    }
}
