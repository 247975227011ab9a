use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use ipc::{GetError, GetTimeoutError, PutError, PutTimeoutError, TryGetError, TryPutError, thread::*};
use test_support::watchdog;

const LIMIT: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

/// What every queue between threads must do; `$value` takes a value out of what `get` gives.
macro_rules! conformance {
    ($scope:ident, $queue:ident, $value:expr) => {
        mod $scope {
            use super::*;

            #[test]
            fn full_and_empty_are_reported() {
                let _dog = watchdog(LIMIT);
                let q = $queue::new(2);
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
                let q = $queue::<u32>::new(0);
                let begun = Instant::now();
                assert!(matches!(q.get_timeout(SHORT), Err(GetTimeoutError::TimedOut)));
                assert!(begun.elapsed() >= SHORT);
                assert!(!q.is_full());
            }

            #[test]
            fn closed_queue_gives_out_what_it_has() {
                let _dog = watchdog(LIMIT);
                let q = $queue::new(0);
                q.put_many([1, 2, 3]).unwrap();
                q.close();
                assert!(q.is_closed());
                assert_eq!(q.put(4), Err(PutError::Closed(4)));
                assert_eq!(q.try_put(4), Err(TryPutError::Closed(4)));
                assert_eq!(q.put_timeout(4, SHORT), Err(PutTimeoutError::Closed(4)));
                assert_eq!(q.put_many([4, 5]), Err(PutError::Closed(vec![4, 5])));
                let mut got: Vec<u32> = q.get_many(2).unwrap().into_iter().map($value).collect();
                got.extend((&q).into_iter().map($value));
                got.sort();
                assert_eq!(got, [1, 2, 3]);
                assert!(matches!(q.get(), Err(GetError::Closed)));
                assert!(matches!(q.try_get(), Err(TryGetError::Closed)));
                assert!(matches!(q.get_timeout(SHORT), Err(GetTimeoutError::Closed)));
            }

            #[test]
            fn close_wakes_everybody_who_waits() {
                let _dog = watchdog(LIMIT);
                let (full, empty) = ($queue::new(1), $queue::<u32>::new(1));
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
                const EACH: u64 = 5_000;
                for maxsize in [0, 1, 7] {
                    let q = $queue::new(maxsize);
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
                for _ in 0..200 {
                    let q = $queue::new(2);
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

conformance!(fifo, Queue, std::convert::identity);
conformance!(lifo, LifoQueue, std::convert::identity);
conformance!(priority, PriorityQueue, std::convert::identity);
conformance!(joinable, JoinableQueue, Item::into_inner);

#[test]
fn order_is_each_queues_own() {
    let _dog = watchdog(LIMIT);
    let values = [3, 1, 2];
    let (fifo, lifo, priority) = (Queue::new(0), LifoQueue::new(0), PriorityQueue::new(0));
    fifo.put_many(values).unwrap();
    lifo.put_many(values).unwrap();
    priority.put_many(values).unwrap();
    assert_eq!(fifo.get_many(9).unwrap(), [3, 1, 2]);
    assert_eq!(lifo.get_many(9).unwrap(), [2, 1, 3]);
    assert_eq!(priority.get_many(9).unwrap(), [1, 2, 3]);
}

#[test]
fn join_waits_for_the_last_task_done() {
    let _dog = watchdog(LIMIT);
    let q = JoinableQueue::new(0);
    q.join();
    q.put_many(0..100).unwrap();
    assert!(!q.join_timeout(SHORT));
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
        q.join();
        assert_eq!((done.load(Relaxed), q.unfinished()), (100, 0));
        assert!(q.join_timeout(SHORT));
        q.close();
    });
}

#[test]
fn item_of_a_panicked_thread_is_delivered_again() {
    let _dog = watchdog(LIMIT);
    let q = JoinableQueue::new(1);
    q.put("soup").unwrap();
    let eater = thread::spawn({
        let q = q.clone();
        move || {
            let _item = q.get().unwrap();
            panic!("the eater chokes");
        }
    });
    assert!(eater.join().is_err());
    assert!(!q.join_timeout(Duration::ZERO));
    let item = q.get().unwrap();
    assert!(item.redelivered());
    assert_eq!(*item, "soup");
    item.task_done();
    q.join();
}
