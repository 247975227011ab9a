//! What both kinds of pools do alike: one text for the two.

/// Instantiates the tests for one kind of pool.
macro_rules! conformance {
    ($name:ident, $pool:ident, $builder:ident) => {
        mod $name {
            use std::{
                any::Any,
                panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
                pin::{Pin, pin},
                sync::{
                    Arc,
                    atomic::{AtomicU64, Ordering::SeqCst},
                },
                task::{Context, Waker},
                thread,
                time::Duration,
            };

            use futures_core::Stream;
            use pool::{
                AnyTask, Error, Full, PoolError, Task, TaskError, TimedOut, Until, Waited, as_completed, wait_tasks,
                wait_tasks_async, $pool as Pool,
            };
            use proc_core::{Waitable, shm::Shared, wait_any, wait_any_async};
            use test_support::{Unpark, block_on, watchdog};

            const PATIENCE: Duration = Duration::from_secs(100);

            fn double(n: u64) -> u64 {
                2 * n
            }

            fn wait_at(gate: Shared<AtomicU64>) {
                while gate.load(SeqCst) == 0 {
                    thread::yield_now();
                }
            }

            fn next<S: Stream + Unpin>(stream: &mut S) -> impl Future<Output = Option<S::Item>> {
                std::future::poll_fn(|context| Pin::new(&mut *stream).poll_next(context))
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
                for _ in 0..50 {
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

            fn gated(pool: &Pool, n: u64) -> (Shared<AtomicU64>, Vec<Task<()>>) {
                let gate = Shared::new(AtomicU64::new(0)).unwrap();
                let tasks = (0..n).map(|_| pool.apply_async(wait_at, (gate.clone(),))).collect();
                (gate, tasks)
            }

            #[test]
            fn wait_tells_who_is_done_and_leaves_nothing_behind() {
                let _dog = watchdog(PATIENCE);
                let pool = Pool::new(2).unwrap();
                let (gate, mut tasks) = gated(&pool, 1);
                tasks.push(pool.apply_async(|| (), ()));
                let id = |tasks: &[Task<()>]| tasks.iter().map(Task::id).collect::<Vec<_>>();
                let given = id(&tasks);
                let Waited { done, not_done } = wait_tasks(tasks, Until::Any, None);
                assert_eq!((id(&not_done), id(&done)), (given[..1].to_vec(), given[1..].to_vec()));
                done[0].get().unwrap();
                // By reference, of several kinds.
                let failing = pool.apply_async(|| -> u64 { panic!("expected") }, ());
                let waited = wait_tasks([&not_done[0] as &dyn AnyTask, &failing], Until::FirstError, None);
                assert_eq!((waited.done.len(), waited.not_done.len()), (1, 1));
                let mut left = not_done;
                for timeout in [Duration::ZERO, Duration::from_micros(10)].repeat(100) {
                    let waited = wait_tasks(left, Until::All, Some(timeout));
                    assert!(waited.done.is_empty());
                    left = waited.not_done;
                }
                assert!(format!("{:?}", left[0]).contains("n_wakers: Some(0)"), "{left:?}");
                gate.store(1, SeqCst);
                assert!(wait_tasks(&left, Until::All, None).not_done.is_empty());
                assert!(wait_tasks(Vec::<Task<()>>::new(), Until::Any, None).done.is_empty());
            }

            #[test]
            fn tasks_are_waited_for_together_with_queues_and_descriptors() {
                let _dog = watchdog(PATIENCE);
                let pool = Pool::new(2).unwrap();
                let (gate, tasks) = gated(&pool, 1);
                let queue = ipc::Queue::new(1).unwrap();
                let (reader, writer) = std::io::pipe().unwrap();
                let sources: [&dyn Waitable; 3] = [&tasks[0], &queue, &reader];
                for timeout in [Duration::ZERO, Duration::from_micros(10)].repeat(50) {
                    assert_eq!(wait_any(&sources, Some(timeout)).unwrap(), []);
                }
                assert!(format!("{:?}", tasks[0]).contains("n_wakers: Some(0)"), "{:?}", tasks[0]);
                queue.put(1).unwrap();
                assert_eq!(wait_any(&sources, None).unwrap(), [1]);
                assert_eq!(queue.try_get(), Ok(1));
                let mut any = pin!(wait_any_async(&sources));
                assert!(any.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                gate.store(1, SeqCst);
                assert_eq!(block_on(any).unwrap(), [0]);
                drop(writer);
                assert_eq!(wait_any(&sources, None).unwrap(), [0, 2]);
            }

            #[test]
            fn the_first_task_and_all_tasks_are_awaited() {
                let _dog = watchdog(PATIENCE);
                let pool = Pool::new(2).unwrap();
                let (gate, mut tasks) = gated(&pool, 1);
                tasks.push(pool.apply_async(|| (), ()));
                assert_eq!(block_on(wait_tasks_async(&tasks, Until::Any)).done[0].id(), tasks[1].id());
                for _ in 0..100 {
                    let all = pin!(wait_tasks_async(&tasks, Until::All));
                    assert!(all.poll(&mut Context::from_waker(Waker::noop())).is_pending());
                }
                assert!(format!("{:?}", tasks[0]).contains("n_wakers: Some(0)"), "{:?}", tasks[0]);
                let failing = pool.apply_async(|| -> u64 { panic!("expected") }, ());
                let both = [&tasks[0] as &dyn AnyTask, &failing];
                assert_eq!(block_on(wait_tasks_async(both, Until::FirstError)).not_done.len(), 1);
                let mut stream = as_completed(tasks).into_stream();
                let mut n_done = 0;
                block_on(next(&mut stream)).unwrap().get().unwrap();
                gate.store(1, SeqCst);
                while let Some(task) = block_on(next(&mut stream)) {
                    task.get().unwrap();
                    n_done += 1;
                }
                assert_eq!(n_done, 1);
            }

            #[test]
            fn as_completed_gives_back_what_is_late() {
                let _dog = watchdog(PATIENCE);
                let pool = Pool::new(2).unwrap();
                let (gate, mut tasks) = gated(&pool, 1);
                tasks.extend((0..3).map(|_| pool.apply_async(|| (), ())));
                let late = tasks[0].id();
                let mut tasks = as_completed(tasks);
                let mut quick = 0;
                while quick < 3 {
                    quick += tasks.within(Duration::from_millis(20)).map(|task| task.get().unwrap()).count();
                }
                assert!(tasks.next_timeout(Duration::ZERO).is_none());
                let left = tasks.into_pending();
                assert_eq!(left.iter().map(Task::id).collect::<Vec<_>>(), [late]);
                assert!(format!("{left:?}").contains("n_wakers: Some(0)"));
                gate.store(1, SeqCst);
                left[0].get().unwrap();
            }

            #[test]
            fn a_map_may_have_no_time_or_its_own_chunks() {
                let _dog = watchdog(PATIENCE);
                let pool = Pool::new(2).unwrap();
                let gate = Shared::new(AtomicU64::new(0)).unwrap();
                let items = || [0, 1].map(|n| (n, gate.clone())).into_iter();
                let second_waits = |(n, gate): (u64, Shared<AtomicU64>)| {
                    if n == 1 {
                        wait_at(gate);
                    }
                };
                let mut results = pool.imap(second_waits, items()).chunk_size(1);
                while results.next_timeout(Duration::ZERO) == Err(TimedOut) {
                    thread::yield_now();
                }
                assert_eq!(results.next_timeout(Duration::from_millis(1)), Err(TimedOut));
                let late = pool.map_timeout(second_waits, items(), Duration::from_millis(20));
                assert_eq!(late, Err(TaskError::TimedOut));
                gate.store(1, SeqCst);
                assert_eq!(results.next(), Some(Ok(())));
                assert_eq!(results.next_timeout(Duration::ZERO), Ok(None));
                assert_eq!(pool.map_timeout(double, 0..100, PATIENCE).unwrap(), doubled(100));
                assert_eq!(pool.map_chunked(double, 0..100, 7).unwrap(), doubled(100));
                let unordered = pool.imap_unordered(double, 0..100).chunk_size(7);
                assert_eq!(unordered.map(Result::unwrap).sum::<u64>(), doubled(100).iter().sum());
                let words = ["a".to_owned(), "bc".to_owned()];
                assert_eq!(pool.map_slice(|word: &String| word.len(), &words).unwrap(), [1, 2]);
                assert_eq!(pool.starmap_async(|a: u64, b: u64| a * b, [(1, 2), (3, 4)]).get().unwrap(), [2, 12]);
            }

            #[test]
            fn a_task_tells_whether_it_runs() {
                let _dog = watchdog(PATIENCE);
                let pool = Pool::new(1).unwrap();
                let (gate, tasks) = gated(&pool, 2);
                while !tasks[0].running() {
                    thread::yield_now();
                }
                assert!(!tasks[1].running());
                assert_eq!(tasks[0].get_timeout(Duration::ZERO), Err(TaskError::TimedOut));
                gate.store(1, SeqCst);
                tasks.iter().for_each(|task| task.wait());
                assert!(!tasks[0].running() && !tasks[1].running());
            }

            #[test]
            fn a_dropped_handle_cancels_if_it_is_told_to() {
                let _dog = watchdog(PATIENCE);
                let pool = Pool::new(1).unwrap();
                let count = Shared::new(AtomicU64::new(0)).unwrap();
                let add = |count: Shared<AtomicU64>, n: u64| count.fetch_add(n, SeqCst);
                let (gate, blocking) = gated(&pool, 1);
                drop(pool.apply_async(add, (count.clone(), 1)).cancel_on_drop());
                drop(pool.apply_async(add, (count.clone(), 10)).cancel_on_drop().into_task());
                drop(pool.apply_async(add, (count.clone(), 100)));
                gate.store(1, SeqCst);
                blocking[0].get().unwrap();
                pool.close();
                pool.join().unwrap();
                assert_eq!(count.load(SeqCst), 110);
            }

            #[test]
            fn a_bounded_pool_takes_no_more_than_it_may() {
                let _dog = watchdog(PATIENCE);
                let pool = Pool::builder().workers(1).max_pending(2).build().unwrap();
                let (gate, tasks) = gated(&pool, 2);
                let Err(Full(_, args)) = pool.try_apply_async(double, (7,)) else { panic!("taken") };
                assert_eq!(args, (7,));
                // One that is cancelled makes room.
                assert!(tasks[1].cancel());
                let third = pool.try_apply_async(double, (7,)).unwrap();
                thread::scope(|scope| {
                    let fourth = scope.spawn(|| pool.apply_async(double, (8,)).get());
                    assert!(pool.try_apply_async(double, (9,)).is_err());
                    gate.store(1, SeqCst);
                    assert_eq!(fourth.join().unwrap(), Ok(16));
                });
                assert_eq!(third.get(), Ok(14));
                let many: Vec<_> = (0..1000).map(|n| pool.apply_async(double, (n,))).collect();
                assert_eq!(many.iter().map(|task| task.get().unwrap()).collect::<Vec<_>>(), doubled(1000));
            }

            #[test]
            fn pools_and_maps_are_awaited() {
                let _dog = watchdog(PATIENCE);
                let pool = Pool::new(2).unwrap();
                assert_eq!(block_on(pool.join_async()), Err(PoolError::StillOpen));
                let mut results = pool.imap(double, 0..500).into_stream();
                let ordered = (0..500).map(|_| block_on(next(&mut results)).unwrap().unwrap()).collect::<Vec<_>>();
                assert_eq!((ordered, block_on(next(&mut results))), (doubled(500), None));
                let mut results = pool.imap_unordered(double, 0..500).into_stream();
                let sum: u64 = (0..500).map(|_| block_on(next(&mut results)).unwrap().unwrap()).sum();
                assert_eq!((sum, block_on(next(&mut results))), (doubled(500).iter().sum(), None));
                let (gate, tasks) = gated(&pool, 3);
                let end = pool.join_async();
                pool.close();
                gate.store(1, SeqCst);
                assert_eq!(block_on(end), Ok(()));
                assert!(tasks.iter().all(|task| task.get() == Ok(())));
                assert_eq!(block_on(pool.join_async()), Ok(()));
            }

            /// A task that is polled again and again keeps the last waker only.
            #[test]
            fn polls_leave_nothing_behind() {
                let _dog = watchdog(PATIENCE);
                let pool = Pool::new(1).unwrap();
                let (gate, mut tasks) = gated(&pool, 1);
                let wakers: Vec<_> = (0..100).map(|_| Arc::new(Unpark(thread::current()))).collect();
                for waker in &wakers {
                    let waker = Waker::from(waker.clone());
                    assert!(Pin::new(&mut tasks[0]).poll(&mut Context::from_waker(&waker)).is_pending());
                }
                assert_eq!(wakers.iter().filter(|waker| Arc::strong_count(waker) > 1).count(), 1);
                gate.store(1, SeqCst);
                block_on(&mut tasks[0]).unwrap();
            }

            #[test]
            fn errors_of_every_kind_come_with_their_causes() {
                let _dog = watchdog(PATIENCE);
                #[derive(Debug)]
                struct Outer(std::num::ParseIntError);
                impl std::fmt::Display for Outer {
                    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("cannot read the number")
                    }
                }
                impl std::error::Error for Outer {
                    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                        Some(&self.0)
                    }
                }
                fn boxed(text: &str) -> Result<u8, Box<dyn std::error::Error>> {
                    if text.is_empty() { Err("empty".into()) } else { Ok(text.parse().map_err(Outer)?) }
                }
                fn work(text: String) -> Result<u8, Error> {
                    Ok(boxed(&text)?)
                }
                let pool = Pool::new(1).unwrap();
                assert_eq!(pool.apply(work, ("7".to_owned(),)).unwrap(), Ok(7));
                assert_eq!(pool.apply(work, (String::new(),)).unwrap(), Err("empty".into()));
                let error = pool.apply(work, ("x".to_owned(),)).unwrap().unwrap_err();
                assert_eq!(error.to_string(), "cannot read the number");
                assert_eq!(format!("{error:#}"), "cannot read the number: invalid digit found in string");
                assert_eq!(error.chain().count(), 2);
                let error = error.into_std();
                let cause = std::error::Error::source(&error).unwrap();
                assert_eq!(cause.to_string(), "invalid digit found in string");
                assert!(cause.source().is_none());
            }

            #[test]
            fn a_waker_that_panics_costs_nobody_else_anything() {
                struct Panic;
                impl std::task::Wake for Panic {
                    fn wake(self: std::sync::Arc<Self>) {
                        panic!("as a waker may");
                    }
                }
                let _dog = watchdog(PATIENCE);
                let waker = std::task::Waker::from(std::sync::Arc::new(Panic));
                let mut context = std::task::Context::from_waker(&waker);
                let pool = Pool::new(1).unwrap();
                let gate = ipc::Queue::<u8>::new(1).unwrap();
                let task = pool.apply_async(super::pass, (gate.clone(),));
                let mut future = std::pin::pin!(task.into_future());
                assert!(future.as_mut().poll(&mut context).is_pending());
                gate.put(7).unwrap();
                assert_eq!(pool.apply(double, (4,)).unwrap(), 8);
                assert!(matches!(future.poll(&mut context), std::task::Poll::Ready(Ok(7))));
                let mut gone = std::pin::pin!(pool.join_async());
                pool.close();
                let _ = gone.as_mut().poll(&mut context);
                pool.join().unwrap();
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

fn pass(gate: ipc::Queue<u8>) -> u8 {
    gate.get().unwrap()
}

conformance!(processes, ProcessPool, ProcessPoolBuilder);
conformance!(threads, ThreadPool, ThreadPoolBuilder);
