//! What queues between threads and queues between processes do alike: one text for all of them.

use std::{
    convert::identity as itself,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use ipc::{GetError, GetTimeoutError, PutError, PutTimeoutError, TryGetError, TryPutError, thread as threads};
use proc_core::{Waitable, wait_any};
use test_support::{block_on, watchdog};

const LIMIT: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

/// Wakes a thread, and counts how often.
struct Unpark(thread::Thread, AtomicU64);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Relaxed);
        self.0.unpark();
    }
}

/// What every queue must do. `$make` makes one of a size, `$value` takes a value out of what `get` gives.
macro_rules! conformance {
    ($name:ident, $make:expr, $value:expr, $Queue:ty) => {
        mod $name {
            use super::*;

            #[test]
            fn full_and_empty_are_reported() {
                let _dog = watchdog(LIMIT);
                let q = $make(2);
                assert_eq!((q.maxsize(), q.len(), q.is_empty(), q.is_full()), (2, 0, true, false));
                assert!(matches!(q.try_get(), Err(TryGetError::Empty)));
                q.put(1).unwrap();
                q.try_put(2).unwrap();
                assert_eq!((q.len(), q.is_empty(), q.is_full()), (2, false, true));
                assert_eq!(q.try_put(3), Err(TryPutError::Full(3)));
                let begun = Instant::now();
                assert_eq!(q.put_timeout(3, SHORT), Err(PutTimeoutError::TimedOut(3)));
                assert!(begun.elapsed() >= SHORT);
            }

            #[test]
            fn get_timeout_waits_its_time() {
                let _dog = watchdog(LIMIT);
                let q = $make(0);
                let begun = Instant::now();
                assert!(matches!(q.get_timeout(SHORT), Err(GetTimeoutError::TimedOut)));
                assert!(begun.elapsed() >= SHORT);
                assert!(!q.is_full());
            }

            #[test]
            fn deadlines_are_times_to_wait_until() {
                let _dog = watchdog(LIMIT);
                let (q, past) = ($make(1), Instant::now());
                assert!(matches!(q.get_deadline(past), Err(GetTimeoutError::TimedOut)));
                let soon = Instant::now() + SHORT;
                assert!(matches!(q.get_deadline(soon), Err(GetTimeoutError::TimedOut)));
                assert!(Instant::now() >= soon);
                assert_eq!(q.put_deadline(1, past), Ok(()), "there is room");
                assert_eq!(q.put_deadline(2, past), Err(PutTimeoutError::TimedOut(2)));
                let soon = Instant::now() + SHORT;
                assert_eq!(q.put_deadline(2, soon), Err(PutTimeoutError::TimedOut(2)));
                assert!(Instant::now() >= soon);
                assert_eq!($value(q.get_deadline(past).unwrap()), 1);
            }

            #[test]
            fn timeouts_and_deadlines_end_when_there_is_something() {
                let _dog = watchdog(LIMIT);
                let q = $make(1);
                thread::scope(|s| {
                    let getters = [
                        s.spawn(|| q.get_timeout(Duration::MAX).map($value)),
                        s.spawn(|| q.get_deadline(Instant::now() + LIMIT).map($value)),
                    ];
                    q.put_timeout(1, Duration::MAX).unwrap();
                    q.put_deadline(1, Instant::now() + LIMIT).unwrap();
                    assert!(getters.into_iter().all(|getter| getter.join().unwrap() == Ok(1)));
                });
            }

            #[test]
            fn closed_queue_gives_out_what_it_has() {
                let _dog = watchdog(LIMIT);
                let q = $make(0);
                q.put_many([1, 2, 3, 4]).unwrap();
                q.close();
                assert!(q.is_closed());
                assert_eq!(q.put(5), Err(PutError::Closed(5)));
                assert_eq!(q.try_put(5), Err(TryPutError::Closed(5)));
                assert_eq!(q.put_timeout(5, SHORT), Err(PutTimeoutError::Closed(5)));
                assert_eq!(q.put_deadline(5, Instant::now()), Err(PutTimeoutError::Closed(5)));
                assert_eq!(q.put_many([5, 6]), Err(PutError::Closed(vec![5, 6])));
                let mut got: Vec<u64> = q.get_many(2).unwrap().into_iter().map($value).collect();
                got.extend((&q).into_iter().map($value).take(1));
                got.extend(q.clone().into_iter().map($value));
                got.sort();
                assert_eq!(got, [1, 2, 3, 4]);
                assert!(matches!(q.get(), Err(GetError::Closed)));
                assert!(matches!(q.try_get(), Err(TryGetError::Closed)));
                assert!(matches!(q.get_timeout(SHORT), Err(GetTimeoutError::Closed)));
                assert!(matches!(q.get_deadline(Instant::now()), Err(GetTimeoutError::Closed)));
                assert!(matches!(q.get_many(1), Err(GetError::Closed)));
                assert_eq!((q.iter().count(), q.drain().count()), (0, 0));
            }

            #[test]
            fn clones_are_the_same_queue() {
                let (q, other) = ($make(3), $make(3));
                let clone = q.clone();
                assert!(<$Queue>::ptr_eq(&q, &clone) && !<$Queue>::ptr_eq(&q, &other));
                q.put(1).unwrap();
                assert_eq!((clone.len(), other.len()), (1, 0));
            }

            #[test]
            fn drain_takes_what_is_there_without_waiting() {
                let _dog = watchdog(LIMIT);
                let q = $make(0);
                assert_eq!(q.drain().count(), 0);
                q.put_many(0..10).unwrap();
                let mut got: Vec<_> = q.drain().map($value).collect();
                got.sort();
                assert_eq!(got, (0..10).collect::<Vec<_>>());
                assert!(q.is_empty() && !q.is_closed());
            }

            #[test]
            fn get_many_takes_no_more_than_asked() {
                let _dog = watchdog(LIMIT);
                let q = $make(0);
                assert_eq!(q.get_many(0).unwrap().len(), 0);
                q.put_many(0..5).unwrap();
                assert_eq!(q.get_many(3).unwrap().into_iter().map($value).count(), 3);
                assert_eq!(q.get_many(usize::MAX).unwrap().into_iter().map($value).count(), 2);
            }

            #[test]
            fn close_wakes_everybody_who_waits() {
                let _dog = watchdog(LIMIT);
                let (full, empty) = ($make(1), $make(1));
                full.put(0).unwrap();
                let waiting = AtomicU64::new(0);
                thread::scope(|s| {
                    let putters = [(); 2].map(|()| {
                        s.spawn(|| {
                            waiting.fetch_add(1, Relaxed);
                            full.put(1)
                        })
                    });
                    let getters = [(); 2].map(|()| {
                        s.spawn(|| {
                            waiting.fetch_add(1, Relaxed);
                            empty.get().map($value)
                        })
                    });
                    while waiting.load(Relaxed) < 4 {
                        thread::yield_now();
                    }
                    full.close();
                    empty.close();
                    for putter in putters {
                        assert_eq!(putter.join().unwrap(), Err(PutError::Closed(1)));
                    }
                    for getter in getters {
                        assert_eq!(getter.join().unwrap(), Err(GetError::Closed));
                    }
                });
            }

            #[test]
            fn everything_put_is_got_once() {
                let _dog = watchdog(LIMIT);
                const EACH: u64 = 3_000;
                for maxsize in [0, 1, 7] {
                    let q = $make(maxsize);
                    let (sum, count) = (AtomicU64::new(0), AtomicU64::new(0));
                    thread::scope(|s| {
                        for _ in 0..3 {
                            s.spawn(|| {
                                for n in q.iter().map($value) {
                                    sum.fetch_add(n, Relaxed);
                                    count.fetch_add(1, Relaxed);
                                }
                            });
                        }
                        let producers = [0, 1, 2].map(|p| {
                            let q = q.clone();
                            s.spawn(move || (0..EACH).for_each(|n| q.put(p * EACH + n).unwrap()))
                        });
                        producers.into_iter().for_each(|p| p.join().unwrap());
                        q.close();
                    });
                    let n = 3 * EACH;
                    assert_eq!((count.into_inner(), sum.into_inner()), (n, n * (n - 1) / 2));
                }
            }

            #[test]
            fn put_that_succeeds_beside_close_is_delivered() {
                let _dog = watchdog(LIMIT);
                for _ in 0..100 {
                    let q = $make(2);
                    let taken = thread::scope(|s| {
                        let putters = [(); 2].map(|()| {
                            let q = q.clone();
                            s.spawn(move || (0..).take_while(|_| q.put(1).is_ok()).count())
                        });
                        let getter = s.spawn(|| q.iter().map($value).count());
                        thread::yield_now();
                        q.close();
                        (putters.map(|p| p.join().unwrap()).iter().sum::<usize>(), getter.join().unwrap())
                    });
                    assert_eq!(taken.0, taken.1);
                }
            }
        }
    };
}

fn fifo<T: serde::Serialize + serde::de::DeserializeOwned>(maxsize: usize) -> ipc::Queue<T> {
    ipc::Queue::new(maxsize).unwrap()
}

fn joinable<T: serde::Serialize + serde::de::DeserializeOwned>(maxsize: usize) -> ipc::JoinableQueue<T> {
    ipc::JoinableQueue::new(maxsize).unwrap()
}

conformance!(fifo_of_processes, fifo::<u64>, itself, ipc::Queue<u64>);
conformance!(fifo_of_threads, threads::Queue::<u64>::new, itself, threads::Queue<u64>);
conformance!(lifo_of_threads, threads::LifoQueue::<u64>::new, itself, threads::LifoQueue<u64>);
conformance!(priority_of_threads, threads::PriorityQueue::<u64>::new, itself, threads::PriorityQueue<u64>);
conformance!(joinable_of_processes, joinable::<u64>, ipc::joinable::Item::into_inner, ipc::JoinableQueue<u64>);
conformance!(
    joinable_of_threads,
    threads::JoinableQueue::<u64>::new,
    threads::Item::into_inner,
    threads::JoinableQueue<u64>
);
conformance!(
    joinable_lifo_of_threads,
    threads::JoinableQueue::<u64>::lifo,
    threads::Item::into_inner,
    threads::JoinableQueue<u64>
);
conformance!(
    joinable_priority_of_threads,
    threads::JoinableQueue::<u64>::priority,
    threads::Item::into_inner,
    threads::JoinableQueue<u64>
);

/// Queues whose futures put and get.
macro_rules! futures {
    ($name:ident, $make:expr, $value:expr) => {
        mod $name {
            use super::*;

            #[test]
            fn they_wait_for_items_and_for_room() {
                let _dog = watchdog(LIMIT);
                let (there, back) = ($make(1), $make(1));
                thread::scope(|s| {
                    s.spawn(|| {
                        block_on(async {
                            while let Ok(n) = there.get_async().await {
                                back.put_async($value(n) + 1).await.unwrap();
                            }
                        })
                    });
                    for n in 0..300 {
                        block_on(there.put_async(n)).unwrap();
                        assert_eq!($value(block_on(back.get_async()).unwrap()), n + 1);
                    }
                    // And beside those that block.
                    for n in 0..300 {
                        there.put(n).unwrap();
                        assert_eq!($value(back.get().unwrap()), n + 1);
                    }
                    there.close();
                });
                assert!(matches!(block_on(there.get_async()), Err(GetError::Closed)));
                assert_eq!(block_on(there.put_async(7)), Err(PutError::Closed(7)));
            }

            #[test]
            fn a_close_wakes_them() {
                let _dog = watchdog(LIMIT);
                let (empty, full) = ($make(1), $make(1));
                full.put(1).unwrap();
                thread::scope(|s| {
                    let getter = s.spawn(|| block_on(empty.get_async()).map($value));
                    let putter = s.spawn(|| block_on(full.put_async(2)));
                    thread::yield_now();
                    (empty.close(), full.close());
                    assert_eq!(getter.join().unwrap(), Err(GetError::Closed));
                    assert_eq!(putter.join().unwrap(), Err(PutError::Closed(2)));
                });
            }

            #[test]
            fn a_dropped_one_takes_and_puts_nothing() {
                let _dog = watchdog(LIMIT);
                let q = $make(1);
                let waker = Arc::new(Unpark(thread::current(), AtomicU64::new(0)));
                let as_waker = Waker::from(waker.clone());
                let context = &mut Context::from_waker(&as_waker);
                {
                    let mut get = pin!(q.get_async());
                    assert!(get.as_mut().poll(context).is_pending() && get.as_mut().poll(context).is_pending());
                }
                q.put(1).unwrap();
                {
                    let mut put = pin!(q.put_async(2));
                    assert!(put.as_mut().poll(context).is_pending());
                }
                // One that is dropped after its wake-up leaves what there is to others.
                {
                    let mut put = pin!(q.put_async(3));
                    assert!(put.as_mut().poll(context).is_pending());
                    let other = thread::scope(|s| {
                        let other = s.spawn(|| block_on(q.put_async(4)));
                        assert_eq!($value(q.get().unwrap()), 1);
                        other.join().unwrap()
                    });
                    other.unwrap();
                }
                assert_eq!((q.len(), $value(q.get().unwrap())), (1, 4));
                drop(q);
                // Who wakes it may hold it a moment longer. If it was left behind, this never ends.
                while Arc::strong_count(&waker) > 2 {
                    thread::yield_now();
                }
            }
        }
    };
}

futures!(futures_of_processes, fifo::<u64>, itself);
futures!(futures_of_joinable_processes, joinable::<u64>, ipc::joinable::Item::into_inner);
futures!(futures_of_threads, threads::Queue::<u64>::new, itself);
futures!(futures_of_a_lifo, threads::LifoQueue::<u64>::new, itself);
futures!(futures_of_a_priority_queue, threads::PriorityQueue::<u64>::new, itself);
futures!(futures_of_joinable_threads, threads::JoinableQueue::<u64>::new, threads::Item::into_inner);

/// Queues of both scopes, beside each other.
#[test]
fn all_queues_can_be_waited_for_together() {
    let _dog = watchdog(LIMIT);
    let (queue, lifo) = (threads::Queue::new(1), threads::LifoQueue::new(1));
    let (priority, done) = (threads::PriorityQueue::new(1), threads::JoinableQueue::new(1));
    let there = fifo(1);
    let all: [&dyn Waitable; 5] = [&queue, &lifo, &priority, &done, &there];
    assert_eq!(wait_any(&all, Some(SHORT)).unwrap(), []);
    let puts: [&(dyn Fn() + Sync); 5] = [
        &|| queue.put(1_u64).unwrap(),
        &|| lifo.put(1_u64).unwrap(),
        &|| priority.put(1_u64).unwrap(),
        &|| done.put(1_u64).unwrap(),
        &|| there.put(1_u64).unwrap(),
    ];
    let gets: [&dyn Fn(); 5] = [
        &|| _ = queue.get().unwrap(),
        &|| _ = lifo.get().unwrap(),
        &|| _ = priority.get().unwrap(),
        &|| done.get().unwrap().task_done(),
        &|| _ = there.get().unwrap(),
    ];
    for _ in 0..20 {
        for n in 0..puts.len() {
            thread::scope(|scope| {
                scope.spawn(puts[n]);
                assert_eq!(wait_any(&all, None).unwrap(), [n]);
            });
            gets[n]();
        }
    }
    let (rooms, closed) = ([lifo.writable(), done.writable()], queue.readable());
    puts[1]();
    puts[3]();
    let waited: [&dyn Waitable; 3] = [&rooms[0], &rooms[1], &closed];
    assert_eq!(wait_any(&waited, Some(SHORT)).unwrap(), []);
    thread::scope(|scope| {
        scope.spawn(|| lifo.get().unwrap());
        assert_eq!(wait_any(&waited, None).unwrap(), [0]);
    });
    puts[1]();
    thread::scope(|scope| {
        scope.spawn(|| queue.close());
        assert_eq!(wait_any(&waited, None).unwrap(), [2]);
    });
}

/// A waker whose last clone, dropped by whoever wakes it, closes the queue and drops another future of it.
#[test]
fn a_waker_may_do_with_the_queue_what_it_likes() {
    struct Closes(threads::Queue<u64>);

    impl Wake for Closes {
        fn wake(self: Arc<Self>) {
            self.0.close();
        }
    }

    impl Drop for Closes {
        fn drop(&mut self) {
            self.0.close();
            assert!(block_on(self.0.put_async(1)).is_err());
        }
    }

    let _dog = watchdog(LIMIT);
    for is_replaced in [true, false] {
        let q = threads::Queue::new(1);
        let mut get = Box::pin(q.get_async());
        let waker = Waker::from(Arc::new(Closes(q.clone())));
        assert!(get.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        if is_replaced {
            assert!(get.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() || q.is_closed());
        } else {
            q.put(1).unwrap();
            assert_eq!(block_on(get), Ok(1));
        }
        assert!(q.is_closed());
    }
}

/// What only the process scope wraps in a `Result`.
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

/// Queues as two halves.
macro_rules! halves {
    ($name:ident, $make:expr, $ok:ident) => {
        mod $name {
            use super::*;

            #[test]
            fn the_last_producer_ends_the_consumers() {
                let _dog = watchdog(LIMIT);
                let (producer, consumer) = $ok!($make(0).split());
                let clone = producer.clone();
                producer.put_many([1, 2]).unwrap();
                drop(producer);
                assert_eq!((consumer.len(), consumer.get(), consumer.try_get()), (2, Ok(1), Ok(2)));
                assert!(consumer.is_empty());
                assert!(matches!(consumer.try_get(), Err(TryGetError::Empty)), "a producer is left");
                assert!(matches!(consumer.get_timeout(SHORT), Err(GetTimeoutError::TimedOut)));
                clone.put(3).unwrap();
                drop(clone);
                assert_eq!(consumer.get_deadline(Instant::now()), Ok(3));
                assert_eq!(consumer.get(), Err(GetError::Closed));
                assert_eq!((consumer.iter().count(), consumer.drain().count()), (0, 0));
                assert!(matches!(consumer.get_many(3), Err(GetError::Closed)));
            }

            #[test]
            fn the_last_consumer_ends_the_producers() {
                let _dog = watchdog(LIMIT);
                let (producer, consumer) = $ok!($make(1).split());
                let clone = consumer.clone();
                drop(consumer);
                producer.put(1).unwrap();
                assert!(producer.is_full());
                assert_eq!(producer.try_put(2), Err(TryPutError::Full(2)));
                assert_eq!(producer.put_timeout(2, SHORT), Err(PutTimeoutError::TimedOut(2)));
                drop(clone);
                assert_eq!(producer.put(2), Err(PutError::Closed(2)));
                assert_eq!(producer.try_put(2), Err(TryPutError::Closed(2)));
                assert_eq!(producer.put_deadline(2, Instant::now()), Err(PutTimeoutError::Closed(2)));
                assert_eq!(producer.put_many([2, 3]), Err(PutError::Closed(vec![2, 3])));
            }

            /// Without anybody who waits and looks. A child that another test starts may have a copy of a descriptor at that
            /// moment, between its fork and its exec: then it is not the last drop.
            #[test]
            fn the_last_drop_closes_the_queue_for_everybody() {
                let closes = |by_producers: bool| {
                    let queue = $make(2);
                    let (producer, consumer) = $ok!(queue.clone().split());
                    let (producers, consumers) = (vec![producer; 2], vec![consumer; 2]);
                    if by_producers {
                        producers.into_iter().for_each(|half| {
                            assert!(!queue.is_closed());
                            drop(half);
                        });
                    } else {
                        consumers.into_iter().for_each(|half| {
                            assert!(!queue.is_closed());
                            drop(half);
                        });
                    }
                    queue.is_closed()
                };
                assert!((0..100).any(|_| closes(true)) && (0..100).any(|_| closes(false)));
            }

            #[test]
            fn who_waits_is_woken_by_the_last_drop() {
                let _dog = watchdog(LIMIT);
                let (producer, consumer) = $ok!($make(1).split());
                let (full, reader) = $ok!($make(1).split());
                full.put(1).unwrap();
                thread::scope(|s| {
                    let getter = s.spawn(|| consumer.get());
                    let putter = s.spawn(|| full.put(2));
                    thread::yield_now();
                    drop((producer, reader));
                    assert_eq!(getter.join().unwrap(), Err(GetError::Closed));
                    assert_eq!(putter.join().unwrap(), Err(PutError::Closed(2)));
                });
            }

            #[test]
            fn what_was_put_before_the_last_drop_is_got() {
                let _dog = watchdog(LIMIT);
                for _ in 0..50 {
                    let (producer, consumer) = $ok!($make(3).split());
                    let got = thread::scope(|s| {
                        for first in [0, 100] {
                            let producer = producer.clone();
                            s.spawn(move || producer.put_many(first..first + 100).unwrap());
                        }
                        drop(producer);
                        consumer.iter().sum::<u64>()
                    });
                    assert_eq!(got, 199 * 100);
                }
            }
        }
    };
}

halves!(halves_of_processes, fifo::<u64>, process_ok);
halves!(halves_of_threads, threads::Queue::<u64>::new, thread_ok);

/// Queues whose items must be done with; `$ok` takes away what only one scope wraps its results in.
macro_rules! joinable {
    ($name:ident, $make:expr, $build:expr, $ok:ident) => {
        mod $name {
            use super::*;

            #[test]
            fn join_waits_for_the_last_task_done() {
                let _dog = watchdog(LIMIT);
                let q = $make(0);
                $ok!(q.join());
                q.put_many(0..100).unwrap();
                assert!(!$ok!(q.join_timeout(SHORT)) && !$ok!(q.join_deadline(Instant::now() + SHORT)));
                let done = AtomicU64::new(0);
                thread::scope(|s| {
                    for _ in 0..2 {
                        s.spawn(|| {
                            for item in &q {
                                done.fetch_add(1, Relaxed);
                                item.task_done();
                            }
                        });
                    }
                    $ok!(q.join());
                    assert_eq!((done.load(Relaxed), q.unfinished()), (100, 0));
                    assert!($ok!(q.join_timeout(SHORT)) && $ok!(q.join_deadline(Instant::now())));
                    q.close();
                });
            }

            #[test]
            fn a_future_joins() {
                let _dog = watchdog(LIMIT);
                let q = $make(0);
                $ok!(block_on(q.join_async()));
                q.put_many([1, 2]).unwrap();
                thread::scope(|s| {
                    s.spawn(|| $ok!(block_on(q.join_async())));
                    q.get_many(2).unwrap().into_iter().for_each(|item| item.task_done());
                });
                assert_eq!(q.unfinished(), 0);
            }

            #[test]
            fn an_item_of_a_panicked_thread_is_delivered_again() {
                let _dog = watchdog(LIMIT);
                let q = $make(1);
                q.put(7).unwrap();
                let eater = thread::spawn({
                    let q = q.clone();
                    move || {
                        let _item = q.get().unwrap();
                        std::panic::resume_unwind(Box::new("the eater chokes"));
                    }
                });
                assert!(eater.join().is_err());
                assert!(!$ok!(q.join_timeout(Duration::ZERO)));
                let item = q.get().unwrap();
                assert_eq!((*item, item.redelivered(), item.deliveries()), (7, true, 2));
                item.task_done();
                $ok!(q.join());
            }

            #[test]
            fn an_item_given_up_on_is_a_dead_letter() {
                let _dog = watchdog(LIMIT);
                let q = $build(3);
                q.put(7).unwrap();
                for n in 1..=3 {
                    assert_eq!(q.get().unwrap().deliveries(), n);
                }
                assert!(matches!(q.try_get(), Err(TryGetError::Empty)));
                $ok!(q.join());
                assert_eq!(($ok!(q.dead_letters()), q.unfinished()), (vec![7], 0));
                assert_eq!($ok!(q.dead_letters()), []);
            }

            #[test]
            fn an_item_that_comes_back_is_the_next() {
                let _dog = watchdog(LIMIT);
                let q = $make(0);
                q.put_many(0..3).unwrap();
                let first = q.get().unwrap();
                let value = *first;
                drop(first);
                assert_eq!(q.get().unwrap().into_inner(), value);
            }
        }
    };
}

fn giving_up_after(n: u8) -> ipc::JoinableQueue<u64> {
    ipc::JoinableQueue::builder().max_deliveries(n).build_joinable().unwrap()
}

fn of_threads(n: u8) -> threads::Builder<u64> {
    threads::JoinableQueue::builder().max_deliveries(n)
}

joinable!(joins_of_processes, joinable::<u64>, giving_up_after, process_ok);
joinable!(joins_of_threads, threads::JoinableQueue::<u64>::new, |n| of_threads(n).build_joinable(), thread_ok);
joinable!(joins_of_a_lifo, threads::JoinableQueue::<u64>::lifo, |n| of_threads(n).build_joinable_lifo(), thread_ok);
joinable!(
    joins_of_a_priority_queue,
    threads::JoinableQueue::<u64>::priority,
    |n| of_threads(n).build_joinable_priority(),
    thread_ok
);

#[test]
fn handles_can_be_used_where_a_panic_is_caught() {
    fn check<T: std::panic::UnwindSafe + std::panic::RefUnwindSafe + Send + Sync + Clone>(_: T) {}
    check((fifo::<u64>(1), joinable::<u64>(1), fifo::<u64>(1).split().unwrap()));
    check((ipc::pipe::<u64>().unwrap(), ipc::channel::<u64>().unwrap()));
    check((threads::Queue::<u64>::new(1), threads::JoinableQueue::<u64>::new(1)));
    check((threads::LifoQueue::<u64>::new(1), threads::PriorityQueue::<u64>::new(1)));
    check(threads::Queue::<u64>::new(1).split());
}

#[test]
fn order_is_each_queues_own() {
    let _dog = watchdog(LIMIT);
    macro_rules! order {
        ($queue:expr, $value:expr) => {{
            let queue = $queue;
            queue.put_many([3, 1, 2]).unwrap();
            queue.get_many(9).unwrap().into_iter().map($value).collect::<Vec<u64>>()
        }};
    }
    assert_eq!(order!(fifo(0), itself), [3, 1, 2]);
    assert_eq!(order!(threads::Queue::new(0), itself), [3, 1, 2]);
    assert_eq!(order!(threads::LifoQueue::new(0), itself), [2, 1, 3]);
    assert_eq!(order!(threads::PriorityQueue::new(0), itself), [1, 2, 3]);
    assert_eq!(order!(joinable(0), ipc::joinable::Item::into_inner), [3, 1, 2]);
    assert_eq!(order!(threads::JoinableQueue::new(0), threads::Item::into_inner), [3, 1, 2]);
    assert_eq!(order!(threads::JoinableQueue::lifo(0), threads::Item::into_inner), [2, 1, 3]);
    assert_eq!(order!(threads::JoinableQueue::priority(0), threads::Item::into_inner), [1, 2, 3]);
}
