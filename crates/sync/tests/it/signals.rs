//! Signals that arrive while somebody waits.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use nix::{
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction},
    unistd::Pid,
};
use proc_core::shm::Shared;
use sync::process::{Barrier, Condvar, Event, Lock, RLock, RwLock, Semaphore};

use crate::util::{Child, counter, dog};

/// What the handler locks, and how often it did.
static IN_HANDLER: OnceLock<(Lock<u64>, Event)> = OnceLock::new();
static HANDLED: OnceLock<Shared<AtomicU64>> = OnceLock::new();

/// Uses locks of its own, whatever it has interrupted.
extern "C" fn lock_and_set(_: i32) {
    let (lock, event) = IN_HANDLER.get().unwrap();
    *lock.lock().unwrap() += 1;
    event.set();
    HANDLED.get().unwrap().fetch_add(1, SeqCst);
}

fn handled() -> u64 {
    HANDLED.get().unwrap().load(SeqCst)
}

/// Has signals arrive while a child is asleep in `wait`, which goes on when `release` was called and not before.
fn interrupt(wait: impl FnOnce(), release: impl FnOnce()) {
    IN_HANDLER.get_or_init(|| (Lock::new(0).unwrap(), Event::new().unwrap()));
    HANDLED.get_or_init(counter);
    let action = SigAction::new(SigHandler::Handler(lock_and_set), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler locks what nobody else does, sets an event, and counts.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
    let came = counter();
    let waiter = Child::spawn(|| {
        wait();
        came.store(1, SeqCst);
    });
    for _ in 0..20 {
        waiter.wait_until_asleep();
        let before = handled();
        kill(Pid::from_raw(waiter.pid() as i32), Signal::SIGUSR1).unwrap();
        while handled() == before {
            std::thread::yield_now();
        }
    }
    waiter.wait_until_asleep();
    assert_eq!(came.load(SeqCst), 0);
    release();
    waiter.join();
}

const LONG: Duration = Duration::from_secs(3600);

/// One test, as its parts share a handler and what that counts.
#[test]
fn signals_end_no_wait_and_their_handlers_may_lock() {
    let _dog = dog();

    let lock = Lock::new(0u64).unwrap();
    let guard = lock.lock().unwrap();
    interrupt(|| *lock.lock().unwrap() += 1, || drop(guard));
    let guard = lock.lock().unwrap();
    interrupt(|| *lock.lock_timeout(LONG).unwrap().unwrap() += 1, || drop(guard));
    assert_eq!(*lock.lock().unwrap(), 2);

    let lock = RLock::new(()).unwrap();
    let guard = lock.lock().unwrap();
    interrupt(|| drop(lock.lock().unwrap()), || drop(guard));

    let lock = RwLock::new(0u64).unwrap();
    let reader = lock.read().unwrap();
    interrupt(|| *lock.write().unwrap() += 1, || drop(reader));
    let writer = lock.write().unwrap();
    interrupt(|| drop(lock.read().unwrap()), || drop(writer));

    let (lock, changed) = (Lock::new(0u64).unwrap(), Condvar::new().unwrap());
    let change = || {
        *lock.lock().unwrap() += 1;
        changed.notify_one();
    };
    interrupt(|| drop(changed.wait_while(lock.lock().unwrap(), |n| *n == 0).unwrap()), change);
    let wait = || {
        let (_guard, result) = changed.wait_timeout(lock.lock().unwrap(), LONG).unwrap();
        assert!(!result.timed_out());
    };
    interrupt(wait, change);

    let event = Event::new().unwrap();
    interrupt(|| assert!(event.wait_timeout(LONG).unwrap()), || event.set());

    let semaphore = Semaphore::new(0).unwrap();
    interrupt(|| semaphore.acquire().forget(), || semaphore.release(1).unwrap());
    interrupt(|| semaphore.acquire_timeout(LONG).unwrap().forget(), || semaphore.release(1).unwrap());

    let barrier = Barrier::new(2).unwrap();
    let meet = || {
        barrier.wait().unwrap();
    };
    interrupt(meet, meet);
}
