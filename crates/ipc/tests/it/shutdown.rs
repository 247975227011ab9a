//! `shutdown`, of each queue: Python's `queue.Queue.shutdown`, for threads and for processes.

use std::{thread, time::Duration};

use ipc::{GetError, JoinableQueue, PutError, Queue};

/// What all queues have in common. `get` takes a value, and is done with it.
macro_rules! suite {
    ($name:ident, $queue:expr, $get:expr) => {
        mod $name {
            use super::*;

            #[test]
            fn what_is_in_the_queue_can_be_taken_after_a_shutdown() {
                let queue = $queue;
                queue.put(1_u32).unwrap();
                queue.shutdown(false);
                assert!(matches!(queue.put(2), Err(PutError::Closed(2))));
                assert!(queue.is_closed());
                assert_eq!($get(&queue), Ok(1));
                assert!(matches!($get(&queue), Err(GetError::Closed)));
            }

            #[test]
            fn an_immediate_shutdown_empties_the_queue() {
                let queue = $queue;
                for n in 0..100_u32 {
                    queue.put(n).unwrap();
                }
                queue.shutdown(true);
                assert_eq!(queue.len(), 0);
                assert!(matches!($get(&queue), Err(GetError::Closed)));
                assert!(matches!(queue.put(1), Err(PutError::Closed(1))));
                // Again, and after a close.
                queue.shutdown(true);
                queue.shutdown(false);
                assert!(queue.is_closed());
            }

            #[test]
            fn a_shutdown_wakes_those_that_wait() {
                for round in 0..200 {
                    let queue = $queue;
                    thread::scope(|scope| {
                        let getter = scope.spawn(|| $get(&queue));
                        // Before, at and after its sleep.
                        (0..round).for_each(|_| thread::yield_now());
                        queue.shutdown(round % 2 == 0);
                        assert!(matches!(getter.join().unwrap(), Err(GetError::Closed)));
                    });
                }
            }
        }
    };
}

suite!(between_processes, Queue::<u32>::new(1000).unwrap(), |queue: &Queue<u32>| queue.get());
suite!(joinable_between_processes, JoinableQueue::<u32>::new(1000).unwrap(), |queue: &JoinableQueue<u32>| queue
    .get()
    .map(|item| {
        let value = *item;
        item.task_done();
        value
    }));
suite!(between_threads, ipc::thread::Queue::<u32>::new(0), |queue: &ipc::thread::Queue<u32>| queue.get());
suite!(joinable_between_threads, ipc::thread::JoinableQueue::<u32>::new(0), |queue: &ipc::thread::JoinableQueue<
    u32,
>| {
    queue.get().map(|item| {
        let value = *item;
        item.task_done();
        value
    })
});
suite!(lifo, ipc::thread::LifoQueue::<u32>::new(0), |queue: &ipc::thread::LifoQueue<u32>| queue.get());
suite!(priority, ipc::thread::PriorityQueue::<u32>::new(0), |queue: &ipc::thread::PriorityQueue<u32>| queue.get());

#[test]
fn join_waits_for_lent_items_only_after_an_immediate_shutdown() {
    let queue = JoinableQueue::<u32>::new(0).unwrap();
    (0..10).for_each(|n| queue.put(n).unwrap());
    let lent = queue.get().unwrap();
    queue.shutdown(true);
    assert_eq!(queue.unfinished(), 1);
    assert!(!queue.join_timeout(Duration::from_millis(10)).unwrap());
    lent.task_done();
    queue.join().unwrap();

    let queue = ipc::thread::JoinableQueue::<u32>::new(0);
    (0..10).for_each(|n| queue.put(n).unwrap());
    let lent = queue.get().unwrap();
    queue.shutdown(true);
    assert!(!queue.join_timeout(Duration::from_millis(10)));
    lent.task_done();
    queue.join();
}

#[test]
fn another_process_sees_the_shutdown() {
    let (queue, done) = (Queue::<u32>::new(10).unwrap(), JoinableQueue::<u32>::new(10).unwrap());
    let get = |queue: Queue<u32>, done: JoinableQueue<u32>| {
        let got = queue.get();
        done.join().map(|()| matches!(got, Err(GetError::Closed))).unwrap_or(false)
    };
    done.put(1).unwrap();
    let child = crate::spawn(get, (queue.clone(), done.clone())).unwrap();
    queue.shutdown(true);
    done.shutdown(true);
    assert!(child.join().unwrap());
}
