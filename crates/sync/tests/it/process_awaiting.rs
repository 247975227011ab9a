//! Futures of locks, semaphores and events, on as small a runtime as there can be.

use std::{
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    task::{Context, Waker},
    thread,
};

use proc_core::{Process, shm::Shared};
use sync::process::{BoundedSemaphore, Event, Lock, Semaphore};
use test_support::block_on;

use crate::util::{Child, Dice, LONG, counter, dog};

fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[test]
fn a_killed_holder_is_told_to_the_task_that_waits() {
    let _dog = dog();
    let (lock, is_held) = (Lock::new(7).unwrap(), Event::new().unwrap());
    let holder = Child::spawn(|| {
        let _guard = lock.lock().unwrap();
        is_held.set();
        thread::park_timeout(LONG);
    });
    is_held.wait().unwrap();
    let mut locking = lock.lock_async();
    assert!(is_pending(&mut locking));
    holder.kill();
    let guard = block_on(locking).expect_err("the holder died").into_inner();
    assert_eq!(*guard, 7);
    guard.mark_consistent();
}

#[test]
fn a_dropped_future_neither_keeps_the_lock_nor_loses_it() {
    let _dog = dog();
    let lock = Lock::new(0).unwrap();
    for n in 0..50 {
        let guard = lock.lock().unwrap();
        thread::scope(|scope| {
            // The future is dropped before the lock is free.
            scope.spawn(|| assert!(is_pending(&mut lock.lock_async()))).join().unwrap();
            let other = scope.spawn(|| *lock.lock().unwrap() += 1);
            let task = scope.spawn(|| *block_on(lock.lock_async()).unwrap() += 1);
            drop(guard);
            other.join().unwrap();
            task.join().unwrap();
        });
        assert_eq!(*lock.lock().unwrap(), 2 * (n + 1));
        assert!(!lock.is_locked());
    }
}

const EACH: u64 = 300;

fn enter(n: &mut u64, inside: &AtomicU64) {
    assert_eq!(inside.fetch_add(1, SeqCst), 0);
    *n += 1;
    assert_eq!(inside.fetch_sub(1, SeqCst), 1);
}

fn enter_often(lock: Lock<u64>, inside: Shared<AtomicU64>) {
    thread::scope(|scope| {
        scope.spawn(|| (0..EACH).for_each(|_| enter(&mut lock.lock().unwrap(), &inside)));
        for _ in 0..2 {
            scope.spawn(|| (0..EACH).for_each(|_| enter(&mut block_on(lock.lock_async()).unwrap(), &inside)));
        }
    });
}

/// Tasks and threads of three processes, for one lock.
#[test]
fn tasks_and_threads_exclude_each_other() {
    let _dog = dog();
    let (lock, inside) = (Lock::new(0u64).unwrap(), counter());
    let others = [0; 2].map(|_| Process::spawn(enter_often, (lock.clone(), inside.clone())).unwrap());
    enter_often(lock.clone(), inside);
    others.into_iter().for_each(|process| process.join().unwrap());
    assert_eq!(*lock.lock().unwrap(), 9 * EACH);
}

#[test]
fn permits_are_conserved_by_tasks_that_give_up() {
    let _dog = dog();
    let semaphore = BoundedSemaphore::new(1).unwrap();
    for _ in 0..50 {
        let permit = semaphore.acquire();
        {
            let mut dropped = [semaphore.acquire_async(), semaphore.acquire_async()];
            assert!(dropped.iter_mut().all(is_pending));
            // What comes meanwhile may reach one of them, which gives it back.
            drop(permit);
        }
        drop(block_on(semaphore.acquire_async()));
        drop(semaphore.acquire_timeout(LONG).expect("it was given back"));
    }
}

#[test]
fn a_permit_from_another_process_wakes_a_task() {
    let _dog = dog();
    let semaphore = Semaphore::new(0).unwrap();
    let mut acquiring = semaphore.acquire_async();
    assert!(is_pending(&mut acquiring));
    let child = Child::spawn(|| semaphore.release(2).unwrap());
    block_on(acquiring).forget();
    block_on(semaphore.acquire_async()).forget();
    child.join();
    assert_eq!(semaphore.permits(), 0);
}

#[test]
fn an_event_that_was_set_and_cleared_lets_the_task_go() {
    let _dog = dog();
    let event = Event::new().unwrap();
    let mut waiting = [event.wait_async(), event.wait_async()];
    assert!(is_pending(&mut waiting[0]));
    let child = Child::spawn(|| {
        event.set();
        event.clear();
    });
    child.join();
    waiting.into_iter().for_each(block_on);
    assert!(is_pending(&mut event.wait_async()));
    event.set();
    block_on(event.wait_async());
}

/// Processes whose tasks wait for a lock, and hold it, are killed at any moment: the others go on, and are told.
fn count(lock: &Lock<[u64; 2]>) {
    let both = |guard: &mut [u64; 2]| guard.iter_mut().for_each(|n| *n += 1);
    match block_on(lock.lock_async()) {
        Ok(mut guard) => both(&mut guard),
        Err(died) => {
            let mut guard = died.into_inner();
            guard[1] = guard[0];
            guard.mark_consistent();
            both(&mut guard);
        }
    }
}

fn count_in_tasks(lock: Lock<[u64; 2]>) {
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    count(&lock);
                }
            });
        }
    });
}

#[test]
fn killed_tasks_hold_up_nobody() {
    let _dog = dog();
    let lock = Lock::new([0u64; 2]).unwrap();
    let mut dice = Dice::new();
    for _ in 0..40 {
        let victims = [0; 2].map(|_| Process::spawn(count_in_tasks, (lock.clone(),)).unwrap());
        for _ in 0..20 {
            count(&lock);
        }
        dice.sleep_a_little();
        for victim in victims {
            victim.kill().unwrap();
            victim.join().unwrap_err();
        }
        count(&lock);
    }
    let guard = lock.lock().unwrap();
    assert!(guard[0] == guard[1] && guard[0] >= 40 * 21, "{:?}", *guard);
}
