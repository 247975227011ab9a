//! What a child sees of locks that its parent holds, however it was started.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    process::id,
    sync::mpsc,
    thread,
};

use proc_core::{Fork, Process, ProcessHandle, StartMethod};
use serde::{Deserialize, Serialize};
use sync::{
    NotHolder,
    process::{
        Barrier, Condvar, Event, Lock, LockGuard, Permit, RLock, RLockGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
        Semaphore,
    },
};

use crate::util::{SOON, dog};

/// One of each kind.
#[derive(Clone, Serialize, Deserialize)]
struct Kit {
    lock: Lock<u64>,
    rlock: RLock<Cell<u64>>,
    read: RwLock<u64>,
    written: RwLock<u64>,
    semaphore: Semaphore,
    /// The child has seen what it should; the parent has released all.
    seen: Event,
    released: Event,
}

/// All of a [`Kit`], and three levels of the recursive lock, of which one has no guard.
type Guards<'a> = (
    LockGuard<'a, u64>,
    [RLockGuard<'a, Cell<u64>>; 2],
    RwLockReadGuard<'a, u64>,
    RwLockWriteGuard<'a, u64>,
    Permit<'a>,
);

impl Kit {
    fn new() -> Self {
        let (lock, rlock) = (Lock::new(0).unwrap(), RLock::new(Cell::new(0)).unwrap());
        let (read, written) = (RwLock::new(0).unwrap(), RwLock::new(0).unwrap());
        let (seen, released) = (Event::new().unwrap(), Event::new().unwrap());
        Self { lock, rlock, read, written, semaphore: Semaphore::new(1).unwrap(), seen, released }
    }

    fn hold(&self) -> Guards<'_> {
        self.rlock.lock().unwrap().forget();
        let rlocks = [self.rlock.lock().unwrap(), self.rlock.lock().unwrap()];
        (
            self.lock.lock().unwrap(),
            rlocks,
            self.read.read().unwrap(),
            self.written.write().unwrap(),
            self.semaphore.acquire(),
        )
    }

    /// Somebody else, of process `holder`, holds everything.
    fn is_held_by(&self, holder: u32) {
        assert!(self.lock.try_lock().unwrap().is_none() && self.lock.lock_timeout(SOON).unwrap().is_none());
        assert!(self.rlock.try_lock().unwrap().is_none() && self.rlock.lock_timeout(SOON).unwrap().is_none());
        assert_eq!(self.rlock.release(), Err(NotHolder));
        assert!(self.read.try_write().unwrap().is_none() && self.read.write_timeout(SOON).unwrap().is_none());
        assert!(self.read.try_read().unwrap().is_some());
        assert!(self.written.try_read().unwrap().is_none() && self.written.write_timeout(SOON).unwrap().is_none());
        assert!(self.semaphore.try_acquire().is_none());
        let holders = [self.lock.holder(), self.rlock.holder(), self.written.holder()];
        assert!(holders.into_iter().all(|found| found.unwrap().pid == holder));
    }

    /// Nobody holds anything, and no permit was released twice.
    fn is_free(&self) {
        assert!(self.lock.try_lock().unwrap().is_some() && self.rlock.try_lock().unwrap().is_some());
        assert!(self.read.try_write().unwrap().is_some() && self.written.try_write().unwrap().is_some());
        assert_eq!(self.semaphore.permits(), 1);
    }

    /// The child's part: sees that its parent holds everything, and waits like anybody else; then dies as a holder.
    fn see(&self, parent: u32, copies: Option<Guards<'_>>) {
        self.is_held_by(parent);
        self.seen.set();
        self.released.wait().unwrap();
        let mine = (
            self.lock.lock().unwrap(),
            self.rlock.lock().unwrap(),
            self.read.read().unwrap(),
            self.written.write().unwrap(),
        );
        if let Some((_lock, [again, _rlock], _read, _written, _permit)) = copies {
            again.forget();
        }
        let holders = [self.lock.holder(), self.rlock.holder(), self.written.holder()];
        assert!(holders.into_iter().all(|found| found.unwrap().pid == id()));
        assert_eq!(self.rlock.release(), Err(NotHolder), "nothing of its own was forgotten");
        assert!(self.read.try_write().unwrap().is_none());
        assert_eq!(self.semaphore.permits(), 1);
        std::mem::forget(mine);
    }

    /// The parent's part, with `guards`, while its child [sees](Self::see).
    fn release(&self, guards: Guards<'_>) {
        self.seen.wait().unwrap();
        let (lock, [again, rlock], read, written, permit) = guards;
        drop(again);
        self.rlock.release().unwrap();
        assert!(self.rlock.is_locked(), "three levels, whatever the child did with its copies");
        drop((lock, rlock, read, written, permit));
        self.released.set();
    }

    /// The child has died as a holder, of everything.
    fn is_repaired(&self) {
        self.lock.lock().unwrap_err().into_inner().mark_consistent();
        self.rlock.lock().unwrap_err().into_inner().mark_consistent();
        self.written.write().unwrap_err().into_inner().mark_consistent();
        self.is_free();
    }
}

/// Runs `work` in a child by the fork that returns twice.
fn fork(work: impl FnOnce()) -> ProcessHandle {
    // SAFETY: the other threads of this process sleep, and hold no lock that the child needs.
    match unsafe { proc_core::fork() }.unwrap() {
        Fork::Parent(child) => child,
        Fork::Child => {
            let failed = catch_unwind(AssertUnwindSafe(work)).is_err();
            // SAFETY: ends the child, without what its parent has left to do.
            unsafe { libc::_exit(i32::from(failed)) }
        }
    }
}

/// Calls `scenario` in a process that has no other threads, as a fork wants it.
fn alone(scenario: impl Fn() + Copy + Send + 'static) {
    let _dog = dog();
    Process::spawn(scenario, ()).unwrap().join().unwrap();
}

#[test]
fn child_of_a_fork_holds_nothing_and_its_copies_of_guards_change_nothing() {
    alone(|| {
        let (kit, parent) = (Kit::new(), id());
        let mut guards = Some(kit.hold());
        let child = fork(|| kit.see(parent, guards.take()));
        kit.release(guards.take().unwrap());
        assert!(child.wait().unwrap().success());
        kit.is_repaired();
    });
}

#[test]
fn child_of_process_fork_sees_locks_held() {
    alone(|| {
        let (kit, parent) = (Kit::new(), id());
        let guards = kit.hold();
        let child = Process::fork(|| kit.see(parent, None)).unwrap();
        kit.release(guards);
        child.join().unwrap();
        kit.is_repaired();
    });
}

#[test]
fn guard_that_moves_into_process_fork_is_dropped_by_the_parent() {
    alone(|| {
        let (kit, parent) = (Kit::new(), id());
        let guard = kit.lock.lock().unwrap();
        let child = Process::fork({
            let kit = kit.clone();
            move || {
                kit.released.wait().unwrap();
                drop(guard);
                assert_eq!(kit.lock.holder().unwrap().pid, parent);
            }
        });
        let again = kit.lock.try_lock().unwrap().unwrap();
        kit.released.set();
        child.unwrap().join().unwrap();
        drop(again);
    });
}

#[test]
fn children_of_other_start_methods_see_locks_held() {
    let _dog = dog();
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let kit = Kit::new();
        let guards = kit.hold();
        let see = |kit: Kit, parent: u32| kit.see(parent, None);
        let child = Process::builder().start_method(method).spawn(see, (kit.clone(), id())).unwrap();
        kit.release(guards);
        child.join().unwrap();
        kit.is_repaired();
    }
}

#[test]
fn other_threads_see_locks_held() {
    let _dog = dog();
    let kit = Kit::new();
    let guards = kit.hold();
    thread::scope(|scope| {
        let thread = scope.spawn(|| kit.see(id(), None));
        kit.release(guards);
        thread.join().unwrap();
    });
    kit.is_repaired();
}

#[test]
fn child_wakes_the_threads_of_its_parent_that_slept_when_it_was_forked() {
    alone(|| {
        let (lock, changed, event) = (Lock::new(0u64).unwrap(), Condvar::new().unwrap(), Event::new().unwrap());
        let (semaphore, barrier) = (Semaphore::new(0).unwrap(), Barrier::new(2).unwrap());
        let held = Lock::new(()).unwrap();
        let guard = held.lock().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| drop(changed.wait_while(lock.lock().unwrap(), |n| *n == 0).unwrap()));
            scope.spawn(|| assert!(event.wait().unwrap()));
            scope.spawn(|| semaphore.acquire().forget());
            scope.spawn(|| barrier.wait().unwrap());
            scope.spawn(|| drop(held.lock().unwrap()));
            while barrier.n_waiting() == 0 {
                thread::yield_now();
            }
            let child = fork(|| {
                assert!(held.try_lock().unwrap().is_none());
                *lock.lock().unwrap() = 1;
                changed.notify_all();
                event.set();
                semaphore.release(1).unwrap();
                barrier.wait().unwrap();
            });
            assert!(child.wait().unwrap().success());
            drop(guard);
        });
    });
}

#[test]
fn locks_of_the_thread_scope_are_copied_with_their_holders() {
    use sync::thread::{Lock, RLock, RwLock, Semaphore};

    alone(|| {
        let (mine, others) = (Lock::new(1), Lock::new(2));
        let (rlock, rwlock, semaphore) = (RLock::new(Cell::new(3)), RwLock::new(4), Semaphore::new(1));
        let (holds, is_holding) = mpsc::channel();
        let (lets_go, may_let_go) = mpsc::channel::<()>();
        thread::scope(|scope| {
            scope.spawn(|| {
                let _guards = (others.lock(), rwlock.read());
                holds.send(()).unwrap();
                let _ = may_let_go.into_iter().next();
            });
            is_holding.recv().unwrap();
            let mut guards = Some((mine.lock(), rlock.lock(), semaphore.acquire()));
            let child = fork(|| {
                // Its own: it can go on with them, on its copy of the data.
                *guards.as_mut().unwrap().0 = 10;
                rlock.lock().set(30);
                drop(guards.take());
                assert_eq!((*mine.lock(), rlock.lock().get(), semaphore.permits()), (10, 30, 1));
                // Those of a thread that it has no copy of: they stay locked.
                assert!(others.try_lock().is_none() && others.lock_timeout(SOON).is_none());
                assert!(rwlock.write_timeout(SOON).is_none() && *rwlock.read() == 4);
            });
            assert!(child.wait().unwrap().success());
            assert!(mine.is_locked() && rlock.is_locked() && semaphore.permits() == 0);
            drop(guards);
            assert_eq!((*mine.lock(), rlock.lock().get()), (1, 3));
            lets_go.send(()).unwrap();
        });
    });
}
