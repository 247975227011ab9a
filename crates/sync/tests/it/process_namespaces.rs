//! Locks between processes that do not see each other, or know each other by other ids: a holder that is alive keeps
//! what it holds.

use std::{
    cell::Cell,
    io::{PipeWriter, Read, Write},
    os::fd::OwnedFd,
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, unshare};
use proc_core::{Process, StartMethod, handover::Fd, shm::Shared};

use sync::{
    ShmSafe,
    process::{InlineLock, Lock, RLock},
};
use test_support::hosts;

use crate::util::{Child, SOON, dog};

/// Longer than whoever holds a lock is believed to, unasked.
const BELIEVED: Duration = Duration::from_millis(1200);

/// A child that becomes `how` it is, runs `hold`, which is given what to call with the lock held, and then ends. Returns
/// when it holds the lock; it goes on when something is written to what is returned.
fn holder(how: impl FnOnce(), hold: impl FnOnce(&dyn Fn())) -> (Child, PipeWriter) {
    let (mut told, tell) = std::io::pipe().unwrap();
    let (wait, go) = std::io::pipe().unwrap();
    let child = Child::spawn(|| {
        how();
        hold(&|| {
            (&tell).write_all(b"x").unwrap();
            assert_eq!((&wait).read(&mut [0]).unwrap(), 1);
        });
    });
    drop(tell);
    assert_eq!(told.read(&mut [0]).unwrap(), 1, "the child failed");
    (child, go)
}

/// Waits longer for the lock than its holder is believed, and gets it in order when the holder lets go.
fn wait_in_vain_and_then_get(lock: &Lock<u64>, mut go: &PipeWriter) {
    assert!(lock.lock_timeout(BELIEVED).unwrap().is_none());
    go.write_all(b"x").unwrap();
    assert_eq!(*lock.lock().unwrap(), 7);
}

fn hold(lock: &Lock<u64>, held: &dyn Fn()) {
    let mut guard = lock.lock().unwrap();
    *guard = 6;
    held();
    *guard = 7;
}

#[test]
fn whoever_waits_for_a_process_that_it_cannot_see_waits() {
    let _dog = dog();
    if !hosts::is_root() {
        return;
    }
    thread::scope(|scope| {
        // Each thread outlives its children.
        for (name, how) in hosts::BLIND {
            thread::Builder::new().name(name.into()).spawn_scoped(scope, move || wait_beside_blind(how)).unwrap();
        }
    });
}

/// The holder is blind, or the waiter, or both.
fn wait_beside_blind(how: fn()) {
    let lock = Lock::new(0).unwrap();
    let (child, go) = holder(how, |held| hold(&lock, held));
    wait_in_vain_and_then_get(&lock, &go);
    child.join();
    let (child, go) = holder(|| (), |held| hold(&lock, held));
    Child::spawn(|| {
        how();
        wait_in_vain_and_then_get(&lock, &go);
    })
    .join();
    child.join();
    Child::spawn(|| {
        how();
        let (child, go) = holder(|| (), |held| hold(&lock, held));
        wait_in_vain_and_then_get(&lock, &go);
        child.join();
    })
    .join();
}

fn wait_where_it_was_given(lock: Lock<u64>, go: Fd) {
    assert_eq!(std::process::id(), 1);
    wait_in_vain_and_then_get(&lock, &PipeWriter::from(go.0));
}

/// A lock that was handed over to another namespace, where nobody was forked from those who had it.
#[test]
fn whoever_waits_for_a_process_that_it_never_saw_waits() {
    let _dog = dog();
    if !hosts::is_root() {
        return;
    }
    let lock = Lock::new(0).unwrap();
    let (child, go) = holder(|| (), |held| hold(&lock, held));
    Child::spawn(|| {
        unshare(CloneFlags::CLONE_NEWPID).unwrap();
        let start = Process::builder().start_method(StartMethod::Spawn);
        start.spawn(wait_where_it_was_given, (lock.clone(), Fd::from(OwnedFd::from(go)))).unwrap().join().unwrap();
    })
    .join();
    child.join();
}

/// Both are process 1, and thread 1.
#[test]
fn namesakes_exclude_each_other() {
    let _dog = dog();
    if !hosts::is_root() {
        return;
    }
    let lock = Lock::new(0).unwrap();
    let (child, go) = holder(hosts::new_pid_namespace, |held| hold(&lock, held));
    Child::spawn(|| {
        hosts::new_pid_namespace();
        assert!(lock.try_lock().unwrap().is_none());
        // Without a limit it says that it would wait for itself, if it takes itself for the holder.
        wait_in_vain_and_then_get(&lock, &go);
    })
    .join();
    child.join();
    let lock = RLock::new(0u64).unwrap();
    let (child, go) = holder(hosts::new_pid_namespace, |held| {
        let _guard = lock.lock().unwrap();
        held();
    });
    Child::spawn(|| {
        hosts::new_pid_namespace();
        assert!(lock.try_lock().unwrap().is_none());
        assert!(lock.release().is_err());
        assert!(lock.lock_timeout(SOON).unwrap().is_none());
    })
    .join();
    assert!(lock.is_locked());
    (&go).write_all(b"x").unwrap();
    child.join();
    drop(lock.lock().unwrap());
}

/// A waiter that waits for nobody any more once it is killed, and its namesake holds what it waited for.
#[test]
fn a_killed_waiter_takes_nothing_from_its_namesake() {
    let _dog = dog();
    if !hosts::is_root() {
        return;
    }
    let lock = Lock::new(0).unwrap();
    let (child, go) = holder(hosts::new_pid_namespace, |held| hold(&lock, held));
    for _ in 0..20 {
        let (mut told, tell) = std::io::pipe().unwrap();
        let waiter = Child::spawn(|| {
            hosts::new_pid_namespace();
            (&tell).write_all(b"x").unwrap();
            drop(lock.lock().unwrap());
        });
        assert_eq!(told.read(&mut [0]).unwrap(), 1);
        assert!(lock.lock_timeout(SOON).unwrap().is_none());
        waiter.kill();
        assert!(lock.lock_timeout(SOON).unwrap().is_none());
    }
    (&go).write_all(b"x").unwrap();
    child.join();
    assert_eq!(*lock.lock().unwrap(), 7);
}

/// A fork into another namespace copies guards, and the child may have the very id that they were given to.
#[test]
fn a_forked_namesake_drops_guards_that_are_its_parents() {
    let _dog = dog();
    if !hosts::is_root() {
        return;
    }
    let (plain, again) = (Lock::new(0u64).unwrap(), RLock::new(0u64).unwrap());
    let (child, go) = holder(hosts::new_pid_namespace, |held| {
        let guards = Cell::new(Some((plain.lock().unwrap(), again.lock().unwrap(), again.lock().unwrap())));
        // One that the child makes itself it can use.
        let own = Lock::new(0u64).unwrap();
        Child::spawn(|| {
            hosts::new_pid_namespace();
            *own.lock().unwrap() += 1;
            let (copied, more, still_more) = guards.take().unwrap();
            copied.mark_consistent();
            drop((copied, more, still_more));
            assert!(again.try_lock().unwrap().is_none());
            *own.lock().unwrap() += 1;
        })
        .join();
        assert_eq!(*own.lock().unwrap(), 2);
        held();
        drop(guards.take());
    });
    assert!(plain.try_lock().unwrap().is_none() && again.try_lock().unwrap().is_none());
    (&go).write_all(b"x").unwrap();
    child.join();
    assert!(!plain.is_locked() && !again.is_locked());
}

#[test]
fn a_holder_killed_in_another_namespace_releases_the_lock() {
    let _dog = dog();
    if !hosts::is_root() {
        return;
    }
    for (name, how) in hosts::BLIND {
        let lock = Lock::new(0).unwrap();
        let (child, _go) = holder(how, |held| hold(&lock, held));
        child.kill();
        let died = lock.lock().expect_err(name);
        assert_eq!(**died.get_ref(), 6);
    }
}

#[derive(ShmSafe)]
#[repr(C)]
struct Drawers {
    top: InlineLock<u64>,
    below: [InlineLock<u64>; 2],
}

#[test]
fn locks_in_structs_take_note_of_other_namespaces() {
    let drawers =
        Shared::new(Drawers { top: InlineLock::new(0), below: [InlineLock::new(0), InlineLock::new(0)] }).unwrap();
    let holders = || {
        [&drawers.top, &drawers.below[0], &drawers.below[1]]
            .map(|drawer| drawer.with(|_| drawer.holder().map(|it| it.pid)))
    };
    assert_eq!(holders(), [Some(std::process::id()); 3]);
    drawers.note_other_namespaces();
    // An id alone says nothing any more.
    assert_eq!(holders(), [None; 3]);
}
