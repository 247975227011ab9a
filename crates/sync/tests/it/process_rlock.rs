use std::{cell::Cell, thread};

use sync::{
    NotHolder,
    process::{Condvar, RLock},
};

use crate::util::{Child, SOON, dog};

#[test]
fn counts_per_thread() {
    let _dog = dog();
    let lock = RLock::new(Cell::new(0)).unwrap();
    let outer = lock.lock().unwrap();
    let inner = lock.try_lock().unwrap().unwrap();
    let elsewhere = || lock.try_lock().unwrap().is_some();
    assert!(!thread::scope(|scope| scope.spawn(elsewhere).join().unwrap()));
    drop(outer);
    Child::spawn(|| assert!(lock.lock_timeout(SOON).unwrap().is_none())).join();
    drop(inner);
    assert!(thread::scope(|scope| scope.spawn(elsewhere).join().unwrap()));
}

#[test]
fn release_is_for_the_holder() {
    let _dog = dog();
    let lock = RLock::new(()).unwrap();
    assert_eq!(lock.release(), Err(NotHolder));
    lock.lock().unwrap().forget();
    let guard = lock.lock().unwrap();
    thread::scope(|scope| scope.spawn(|| assert_eq!(lock.release(), Err(NotHolder))).join().unwrap());
    Child::spawn(|| assert_eq!(lock.release(), Err(NotHolder))).join();
    lock.release().unwrap();
    assert_eq!(lock.release(), Err(NotHolder), "there is a guard for that");
    drop(guard);
    assert!(!lock.is_locked());
}

#[test]
fn nested_holder_killed_releases_all_levels() {
    let _dog = dog();
    let lock = RLock::new(Cell::new(0)).unwrap();
    let child = Child::spawn_and_stay(|| {
        lock.lock().unwrap().set(1);
        lock.lock().unwrap().forget();
        lock.lock().unwrap().forget();
    });
    assert_eq!(lock.holder().unwrap().pid, child.pid());
    child.kill();
    let guard = lock.lock().unwrap_err().into_inner();
    assert!(lock.lock().is_err(), "not repaired yet");
    guard.mark_consistent();
    assert_eq!(lock.lock().unwrap().get(), 1);
    drop(guard);
    assert!(!lock.is_locked());
}

#[test]
fn waiting_releases_all_levels_and_takes_them_back() {
    let _dog = dog();
    let (lock, changed) = (RLock::new(Cell::new(0)).unwrap(), Condvar::new().unwrap());
    let outer = lock.lock().unwrap();
    let mut inner = lock.lock().unwrap();
    let child = Child::spawn(|| {
        lock.lock().unwrap().set(5);
        changed.notify_one();
    });
    while outer.get() == 0 {
        inner = changed.wait(inner).unwrap();
    }
    child.join();
    drop(inner);
    assert!(lock.is_locked());
    drop(outer);
    assert!(!lock.is_locked());
}

#[test]
fn forked_child_holds_nothing() {
    let _dog = dog();
    let lock = RLock::new(Cell::new(0)).unwrap();
    let guard = lock.lock().unwrap();
    Child::spawn(|| {
        assert!(lock.try_lock().unwrap().is_none());
        // SAFETY: as a fork that returns twice would leave it.
        drop(unsafe { std::ptr::read(&guard) });
    })
    .join();
    assert!(lock.is_locked());
    drop(guard);
    assert!(!lock.is_locked());
}
