use std::{thread, time::Duration};

use sync::process::{Condvar, RwLock};

use crate::util::{Child, SOON, dog};

#[test]
fn many_readers_or_one_writer() {
    let _dog = dog();
    let lock = RwLock::new((0u64, 0u64)).unwrap();
    let write = || {
        for _ in 0..2_000 {
            let mut pair = lock.write().unwrap();
            pair.0 += 1;
            pair.1 += 1;
        }
    };
    let read = || {
        for _ in 0..2_000 {
            let pair = lock.read().unwrap();
            assert_eq!(pair.0, pair.1);
        }
    };
    let children: Vec<Child> = (0..2).map(|_| Child::spawn(write)).chain((0..2).map(|_| Child::spawn(read))).collect();
    thread::scope(|scope| {
        scope.spawn(write);
        read();
    });
    children.into_iter().for_each(Child::join);
    assert_eq!(lock.into_inner().unwrap(), (6_000, 6_000));
}

#[test]
fn readers_share_and_writers_do_not() {
    let _dog = dog();
    let lock = RwLock::new(0u8).unwrap();
    let (one, other) = (lock.read().unwrap(), lock.read().unwrap());
    Child::spawn(|| {
        assert_eq!(*lock.try_read().unwrap().unwrap(), 0);
        assert!(lock.try_write().unwrap().is_none());
        assert!(lock.write_timeout(SOON).unwrap().is_none());
        assert_eq!(*lock.read_timeout(Duration::ZERO).unwrap().unwrap(), 0);
    })
    .join();
    drop((one, other));
    let writer = lock.write().unwrap();
    Child::spawn(|| {
        assert!(lock.try_read().unwrap().is_none());
        assert!(lock.read_timeout(SOON).unwrap().is_none());
        assert!(lock.try_write().unwrap().is_none());
    })
    .join();
    drop(writer);
    assert!(lock.try_write().unwrap().is_some());
}

#[test]
fn dead_reader_does_not_block_a_writer() {
    let _dog = dog();
    let lock = RwLock::new(0u8).unwrap();
    let reader = Child::spawn_and_stay(|| std::mem::forget(lock.read().unwrap()));
    let writer = Child::spawn(|| *lock.write().unwrap() += 1);
    writer.wait_until_asleep();
    reader.kill();
    writer.join();
    assert_eq!(*lock.read().unwrap(), 1);
}

#[test]
fn dead_writer_is_reported_to_readers_and_writers() {
    let _dog = dog();
    let lock = RwLock::new(0u8).unwrap();
    let writer = Child::spawn_and_stay(|| std::mem::forget(lock.write().unwrap()));
    let reader = Child::spawn(|| assert!(lock.read().is_err()));
    reader.wait_until_asleep();
    writer.kill();
    reader.join();
    assert_eq!(*lock.read().unwrap_err().into_inner(), 0);
    let guard = lock.write().unwrap_err().into_inner();
    guard.mark_consistent();
    drop(guard);
    assert!(lock.read().is_ok());
}

#[test]
fn writer_that_died_waiting_is_not_reported() {
    let _dog = dog();
    let lock = RwLock::new(0u8).unwrap();
    let reader = lock.read().unwrap();
    let writer = Child::spawn(|| drop(lock.write()));
    writer.wait_until_asleep();
    assert!(lock.try_read().unwrap().is_none(), "a waiting writer keeps new readers out");
    let late = Child::spawn(|| drop(lock.read().unwrap()));
    late.wait_until_asleep();
    writer.kill();
    late.join();
    drop(reader);
    assert!(lock.write().is_ok());
}

#[test]
fn more_readers_than_seats_take_turns() {
    let _dog = dog();
    let lock = RwLock::new(0u8).unwrap();
    let guards: Vec<_> = (0..32).map(|_| lock.read().unwrap()).collect();
    assert!(lock.try_read().unwrap().is_none());
    let late = Child::spawn(|| drop(lock.read().unwrap()));
    late.wait_until_asleep();
    drop(guards);
    late.join();
}

#[test]
fn reader_gets_in_beside_a_writer_that_does_nothing_else() {
    let _dog = dog();
    let lock = RwLock::new(0u64).unwrap();
    let _hog = Child::spawn(|| {
        loop {
            let mut count = lock.write().unwrap();
            *count += 1;
            (0..1_000).for_each(|_| std::hint::spin_loop());
        }
    });
    for _ in 0..300 {
        drop(lock.read().unwrap());
    }
    for _ in 0..300 {
        drop(lock.read_timeout(Duration::MAX).unwrap().unwrap());
    }
}

#[test]
fn who_would_wait_for_itself_panics_and_leaves_the_lock_as_it_was() {
    let _dog = dog();
    let lock = RwLock::new(0u8).unwrap();
    let reader = lock.read().unwrap();
    assert!(std::panic::catch_unwind(|| drop(lock.write())).is_err());
    assert!(lock.try_read().unwrap().is_some(), "the gate is open again");
    drop(reader);
    let writer = lock.write().unwrap();
    assert!(std::panic::catch_unwind(|| drop(lock.write())).is_err());
    assert!(std::panic::catch_unwind(|| drop(lock.read())).is_err());
    drop(writer);
    assert!(lock.try_write().unwrap().is_some());
}

#[test]
fn waits_with_a_condition_variable() {
    let _dog = dog();
    let (lock, changed) = (RwLock::new(0u8).unwrap(), Condvar::new().unwrap());
    let child = Child::spawn(|| drop(changed.wait_while(lock.write().unwrap(), |n| *n == 0).unwrap()));
    child.wait_until_asleep();
    *lock.write().unwrap() = 1;
    changed.notify_all();
    child.join();
}
