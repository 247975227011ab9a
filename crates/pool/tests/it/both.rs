//! What both kinds of pools do alike: one text for the two.

/// Instantiates the tests for one kind of pool.
macro_rules! conformance {
    ($name:ident, $pool:ident, $builder:ident) => {
        mod $name {
            use std::{
                any::Any,
                panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
                sync::atomic::{AtomicU64, Ordering::SeqCst},
                thread,
                time::Duration,
            };

            use pool::{PoolError, TaskError, $pool as Pool};
            use proc_core::shm::Shared;
            use test_support::watchdog;

            const PATIENCE: Duration = Duration::from_secs(100);

            fn double(n: u64) -> u64 {
                2 * n
            }

            fn wait_at(gate: Shared<AtomicU64>) {
                while gate.load(SeqCst) == 0 {
                    thread::yield_now();
                }
            }

            fn doubled(n: u64) -> Vec<u64> {
                (0..n).map(double).collect()
            }

            #[test]
            fn an_input_that_was_given_before_close_is_read_to_its_end() {
                let _dog = watchdog(PATIENCE);
                for _ in 0..20 {
                    let pool = Pool::new(2).unwrap();
                    let results = pool.imap(double, 0..200);
                    let unordered = pool.imap_unordered(double, 0..200);
                    let empty = pool.imap(double, 0..0);
                    pool.close();
                    assert_eq!(results.collect::<Result<Vec<_>, _>>().unwrap(), doubled(200));
                    assert_eq!(unordered.map(Result::unwrap).sum::<u64>(), doubled(200).iter().sum());
                    assert_eq!(empty.count(), 0);
                    assert!(pool.imap(double, 0..3).all(|result| result.is_err()), "given after close");
                    pool.join().unwrap();
                }
            }

            /// As Python's recipes have it: `imap`, `close`, `join`, and then the results.
            #[test]
            fn join_does_not_wait_for_what_its_own_thread_must_read() {
                let _dog = watchdog(PATIENCE);
                for _ in 0..20 {
                    let pool = Pool::new(2).unwrap();
                    let mut results = pool.imap(double, 0..200);
                    assert_eq!(results.next().unwrap().unwrap(), 0);
                    let tasks: Vec<_> = (0..50).map(|n| pool.apply_async(double, (n,))).collect();
                    pool.close();
                    pool.join().unwrap();
                    assert!(tasks.iter().all(|task| task.ready()));
                    assert_eq!(results.collect::<Result<Vec<_>, _>>().unwrap(), doubled(200)[1..]);
                    pool.join().unwrap();
                }
            }

            #[test]
            fn join_waits_for_an_input_that_another_thread_reads() {
                let _dog = watchdog(PATIENCE);
                for n_read in [200, 100] {
                    let pool = Pool::new(2).unwrap();
                    let mut results = pool.imap(double, 0..200);
                    let (begin, begun) = std::sync::mpsc::channel();
                    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
                    thread::scope(|scope| {
                        let reader = scope.spawn(move || {
                            let first = results.next().unwrap().unwrap();
                            begin.send(()).unwrap();
                            may_go_on.recv().unwrap();
                            first + results.take(n_read - 1).map(Result::unwrap).sum::<u64>()
                        });
                        begun.recv().unwrap();
                        pool.close();
                        let joiner = scope.spawn(|| pool.join().unwrap());
                        assert!(!joiner.is_finished());
                        go_on.send(()).unwrap();
                        assert_eq!(reader.join().unwrap(), doubled(n_read as u64).iter().sum());
                        joiner.join().unwrap();
                    });
                    assert!(pool.stats().workers.iter().all(|worker| !worker.busy));
                }
            }

            #[test]
            fn tasks_start_in_the_order_given() {
                let _dog = watchdog(PATIENCE);
                for _ in 0..20 {
                    let pool = Pool::new(2).unwrap();
                    let gate = Shared::new(AtomicU64::new(0)).unwrap();
                    let started = Shared::new(AtomicU64::new(0)).unwrap();
                    let first = pool.apply_async(wait_at, (gate.clone(),));
                    let start = |started: Shared<AtomicU64>| started.fetch_add(1, SeqCst);
                    let others: Vec<_> = (0..50).map(|_| pool.apply_async(start, (started.clone(),))).collect();
                    // One worker waits, so that the other one starts all the rest.
                    let ranks: Vec<u64> = others.iter().map(|task| task.get().unwrap()).collect();
                    assert_eq!(ranks, (0..50).collect::<Vec<_>>());
                    gate.store(1, SeqCst);
                    first.get().unwrap();
                }
            }

            #[test]
            fn the_panic_of_an_input_comes_after_the_results_of_the_items_before() {
                let _dog = watchdog(PATIENCE);
                let pool = Pool::builder().workers(2).chunk_size(4).build().unwrap();
                let input = || (0..10).map(|n| if n == 7 { panic!("no {n}") } else { n });
                let message = |panic: Box<dyn Any + Send>| panic.downcast_ref::<String>().unwrap().clone();
                let mut good = Vec::new();
                let mut ordered = pool.imap(double, input());
                let panic = catch_unwind(AssertUnwindSafe(|| good.extend(ordered.by_ref().map(Result::unwrap))));
                assert_eq!((good, message(panic.unwrap_err())), (doubled(7), "no 7".into()));
                assert!(ordered.next().is_none());
                let mut n_good = 0;
                let mut unordered = pool.imap_unordered(double, input()).map(Result::unwrap);
                let panic = catch_unwind(AssertUnwindSafe(|| unordered.by_ref().for_each(|_| n_good += 1)));
                assert_eq!((n_good, message(panic.unwrap_err())), (7, "no 7".into()));
                let panic = catch_unwind(AssertUnwindSafe(|| pool.map(double, input())));
                assert_eq!(message(panic.unwrap_err()), "no 7");
            }

            #[test]
            fn a_panic_is_told_with_its_place() {
                let _dog = watchdog(PATIENCE);
                let pool = Pool::new(1).unwrap();
                let panic = pool.apply(|n: u64| -> u64 { panic!("number {n}") }, (7,)).unwrap_err();
                let TaskError::Panicked { message, location, .. } = panic else { panic!("{panic:?}") };
                assert!(message == "number 7" && location.contains("both.rs"), "{location}");
                // One that is resumed has no place of its own, and not that of another.
                let resumed = || -> u64 {
                    let _ = catch_unwind(|| panic!("caught"));
                    resume_unwind(Box::new("resumed"))
                };
                let panic = pool.apply(resumed, ()).unwrap_err();
                let TaskError::Panicked { message, location, .. } = panic else { panic!("{panic:?}") };
                assert_eq!((message.as_str(), location.as_str()), ("resumed", ""));
            }

            #[test]
            fn a_pool_of_zero_is_refused() {
                let _dog = watchdog(PATIENCE);
                assert!(matches!(Pool::new(0), Err(PoolError::Setting("workers"))));
                let built = |builder: pool::$builder| builder.workers(1).build().unwrap_err().to_string();
                assert_eq!(built(Pool::builder().chunk_size(0)), "chunk_size must not be 0");
                assert_eq!(built(Pool::builder().window(0)), "window must not be 0");
            }

            #[test]
            fn terminate_ends_inputs_too() {
                let _dog = watchdog(PATIENCE);
                let pool = Pool::new(2).unwrap();
                let mut results = pool.imap(double, 0..);
                results.next().unwrap().unwrap();
                pool.close();
                pool.terminate();
                pool.join().unwrap();
                assert!(results.any(|result| result.is_err()));
            }
        }
    };
}

conformance!(processes, ProcessPool, ProcessPoolBuilder);
conformance!(threads, ThreadPool, ThreadPoolBuilder);
