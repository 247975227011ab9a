//! Loom models: every interleaving of a few threads, some of which are killed at a system call.
//!
//! # Safety
//! Loom itself checks each access to the data.
#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use loom::{cell::UnsafeCell, sync::Arc, thread};

mod barrier;

use super::{
    CondvarState, EventState, Futex, LockState, SemaphoreState,
    model::{Doomed, Model},
};
use crate::explore;

fn release(lock: &LockState, me: u32, futex: &impl Futex) {
    if !lock.release_idle(me) {
        lock.release(me, futex);
    }
}

/// Runs `life`, which may end in a kill.
fn mortal(life: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(life));
}

struct Guarded {
    futex: Model,
    lock: LockState,
    count: UnsafeCell<u32>,
}

// SAFETY: loom finds any access that the lock does not order.
unsafe impl Sync for Guarded {}
// SAFETY: as above.
unsafe impl Send for Guarded {}

impl Guarded {
    fn new() -> Arc<Self> {
        Arc::new(Self { futex: Model::new(), lock: LockState::new(), count: UnsafeCell::new(0) })
    }

    fn acquire(&self, me: u32) {
        if !self.lock.try_acquire_idle(me) {
            self.lock.acquire(me, &self.futex, None).unwrap();
        }
    }

    fn release(&self, me: u32) {
        release(&self.lock, me, &self.futex);
    }

    /// Adds 1 under the lock.
    fn add(&self, me: u32) {
        self.acquire(me);
        // SAFETY: under the lock, as loom checks.
        self.count.with_mut(|count| unsafe { *count += 1 });
        self.release(me);
    }

    /// Two threads that do that.
    fn two_add(guarded: &Arc<Self>) -> [thread::JoinHandle<()>; 2] {
        [1, 2].map(|me| {
            let guarded = Arc::clone(guarded);
            thread::spawn(move || guarded.add(me))
        })
    }

    fn count(&self) -> u32 {
        // SAFETY: as above.
        self.count.with(|count| unsafe { *count })
    }

    /// Waits for the lock and is killed when it has been woken.
    fn wait_and_die(&self, me: u32) {
        let epitaph = || self.lock.holder_dies(me, &self.futex);
        mortal(|| {
            let acquired = self.lock.acquire(me, &Doomed { model: &self.futex, epitaph }, None);
            assert!(acquired.is_some());
            self.release(me);
        });
    }
}

#[test]
fn lock_excludes() {
    explore(3, || {
        let guarded = Guarded::new();
        let others = Guarded::two_add(&guarded);
        guarded.add(3);
        others.into_iter().for_each(|other| other.join().unwrap());
        guarded.acquire(3);
        assert_eq!(guarded.count(), 3);
    });
}

#[test]
fn lock_survives_a_killed_waiter() {
    explore(3, || {
        let guarded = Guarded::new();
        guarded.acquire(3);
        let (doomed, survivor) = (Arc::clone(&guarded), Arc::clone(&guarded));
        let doomed = thread::spawn(move || doomed.wait_and_die(1));
        let survivor = thread::spawn(move || survivor.add(2));
        guarded.release(3);
        // Comes again, and may be faster than whoever was woken.
        guarded.add(3);
        doomed.join().unwrap();
        survivor.join().unwrap();
    });
}

#[test]
fn lock_survives_a_killed_holder() {
    explore(3, || {
        let guarded = Guarded::new();
        let others = Guarded::two_add(&guarded);
        guarded.acquire(3);
        guarded.lock.holder_dies(3, &guarded.futex);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!(guarded.lock.is_inconsistent());
    });
}

#[test]
fn lock_survives_a_releaser_killed_before_it_wakes() {
    explore(3, || {
        let guarded = Guarded::new();
        guarded.acquire(3);
        let others = Guarded::two_add(&guarded);
        let epitaph = || guarded.lock.holder_dies(3, &guarded.futex);
        mortal(|| release(&guarded.lock, 3, &Doomed { model: &guarded.futex, epitaph }));
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(guarded.count(), 2);
    });
}

#[test]
fn lock_survives_a_killed_claimant() {
    explore(2, || {
        let guarded = Guarded::new();
        guarded.acquire(3);
        let others = Guarded::two_add(&guarded);
        guarded.lock.claim();
        guarded.release(3);
        others.into_iter().for_each(|other| other.join().unwrap());
        guarded.acquire(3);
        assert_eq!(guarded.count(), 2);
    });
}

/// The gate and one seat of an `RwLock`.
#[test]
fn readers_and_writers_exclude_one_another() {
    explore(3, || {
        let gate = Guarded::new();
        let seat = Arc::new(LockState::new());
        let (g, s) = (Arc::clone(&gate), Arc::clone(&seat));
        let reader = thread::spawn(move || {
            s.acquire(1, &g.futex, None).unwrap();
            if g.lock.owner() != 0 {
                release(&s, 1, &g.futex);
                g.acquire(1);
                s.acquire(1, &g.futex, None).unwrap();
                g.release(1);
            }
            let read = g.count();
            release(&s, 1, &g.futex);
            read
        });
        let g = Arc::clone(&gate);
        let waits_only = thread::spawn(move || g.lock.wait_while_held(&g.futex, None));
        gate.acquire(2);
        seat.wait_while_held(&gate.futex, None);
        // SAFETY: nobody reads, as loom checks.
        gate.count.with_mut(|count| unsafe { *count = 1 });
        gate.release(2);
        assert!(reader.join().unwrap() <= 1);
        assert!(waits_only.join().unwrap());
    });
}

/// A writer that takes a seat behind the gate before it leaves that reads what it wrote: no other one gets in between.
#[test]
fn nobody_writes_beside_a_downgraded_writer() {
    explore(3, || {
        let gate = Guarded::new();
        let seat = Arc::new(LockState::new());
        let write = |gate: &Guarded, seat: &LockState, me: u32| {
            gate.acquire(me);
            seat.wait_while_held(&gate.futex, None);
            // SAFETY: nobody reads, as loom checks.
            gate.count.with_mut(|count| unsafe { *count = me });
        };
        let (g, s) = (Arc::clone(&gate), Arc::clone(&seat));
        let downgraded = thread::spawn(move || {
            write(&g, &s, 1);
            s.acquire(1, &g.futex, None).unwrap();
            g.release(1);
            let read = g.count();
            release(&s, 1, &g.futex);
            read
        });
        write(&gate, &seat, 2);
        gate.release(2);
        assert_eq!(downgraded.join().unwrap(), 1);
    });
}

struct Counted {
    futex: Model,
    semaphore: SemaphoreState,
}

impl Counted {
    fn new(permits: u32) -> Arc<Self> {
        Arc::new(Self { futex: Model::new(), semaphore: SemaphoreState::new(permits) })
    }

    fn acquire(&self) {
        assert!(self.semaphore.acquire(&self.futex, None));
    }

    fn release(&self, n: u32) {
        self.semaphore.release(n, u32::MAX, &self.futex).unwrap();
    }

    /// What the kernel does for one who dies with the word announced.
    fn epitaph(&self) {
        self.futex.wake(self.semaphore.state(), 1);
    }
}

#[test]
fn semaphore_loses_no_permit_and_no_waiter() {
    explore(3, || {
        let counted = Counted::new(0);
        let others: Vec<_> = (0..2)
            .map(|_| {
                let counted = Arc::clone(&counted);
                thread::spawn(move || counted.acquire())
            })
            .collect();
        counted.release(1);
        counted.release(1);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(counted.semaphore.permits(), 0);
    });
}

#[test]
fn semaphore_survives_a_killed_waiter() {
    explore(3, || {
        let counted = Counted::new(0);
        let (doomed, survivor) = (Arc::clone(&counted), Arc::clone(&counted));
        let doomed = thread::spawn(move || {
            mortal(|| {
                let futex = Doomed { model: &doomed.futex, epitaph: || doomed.epitaph() };
                assert!(doomed.semaphore.acquire(&futex, None));
                doomed.release(1);
            });
        });
        let survivor = thread::spawn(move || survivor.acquire());
        counted.release(1);
        survivor.join().unwrap();
        // For the doomed one, if it came too late for the first.
        counted.release(1);
        doomed.join().unwrap();
    });
}

#[test]
fn semaphore_survives_a_releaser_killed_before_it_wakes() {
    explore(3, || {
        let counted = Counted::new(0);
        let others: Vec<_> = (0..2)
            .map(|_| {
                let counted = Arc::clone(&counted);
                thread::spawn(move || counted.acquire())
            })
            .collect();
        mortal(|| {
            let futex = Doomed { model: &counted.futex, epitaph: || counted.epitaph() };
            counted.semaphore.release(2, u32::MAX, &futex).unwrap();
        });
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}

#[test]
fn event_lets_all_go_even_if_cleared_at_once() {
    explore(3, || {
        let shared = Arc::new((Model::new(), EventState::new()));
        let others: Vec<_> = (0..2)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.1.set(&shared.0);
                    assert!(shared.1.wait(&shared.0, None));
                })
            })
            .collect();
        assert!(shared.1.wait(&shared.0, None));
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}

#[test]
fn event_pulse_reaches_who_waits() {
    explore(3, || {
        let shared = Arc::new((Model::new(), EventState::new(), Guarded::new()));
        let there = Arc::clone(&shared);
        let waiter = thread::spawn(move || {
            let (futex, event, _) = &*there;
            event.wait(futex, None)
        });
        let (futex, event, _) = &*shared;
        event.set(futex);
        event.clear();
        event.set(futex);
        assert!(waiter.join().unwrap());
    });
}

struct Watched {
    guarded: Arc<Guarded>,
    condvar: CondvarState,
}

impl Watched {
    fn new() -> Arc<Self> {
        Arc::new(Self { guarded: Guarded::new(), condvar: CondvarState::new() })
    }

    /// Waits until the count is not 0, and takes 1.
    fn take(&self, me: u32) {
        self.guarded.acquire(me);
        while self.guarded.count() == 0 {
            let ticket = self.condvar.register();
            self.guarded.release(me);
            self.condvar.wait(ticket, &self.guarded.futex, None);
            self.guarded.acquire(me);
        }
        // SAFETY: under the lock, as loom checks.
        self.guarded.count.with_mut(|count| unsafe { *count -= 1 });
        self.guarded.release(me);
    }
}

#[test]
fn condvar_misses_no_notification() {
    explore(2, || {
        let watched = Watched::new();
        let takers: Vec<_> = (1..=2)
            .map(|me| {
                let watched = Arc::clone(&watched);
                thread::spawn(move || watched.take(me))
            })
            .collect();
        for _ in 0..2 {
            watched.guarded.add(3);
            watched.condvar.notify(1, &watched.guarded.futex);
        }
        takers.into_iter().for_each(|taker| taker.join().unwrap());
    });
}

#[test]
fn condvar_survives_a_killed_waiter() {
    explore(2, || {
        let watched = Watched::new();
        let (doomed, taker) = (Arc::clone(&watched), Arc::clone(&watched));
        let ticket = doomed.condvar.register();
        let doomed = thread::spawn(move || {
            let futex = Doomed { model: &doomed.guarded.futex, epitaph: || () };
            mortal(|| assert!(doomed.condvar.wait(ticket, &futex, None)));
        });
        let taker = thread::spawn(move || taker.take(1));
        watched.guarded.add(3);
        watched.condvar.notify(u32::MAX, &watched.guarded.futex);
        taker.join().unwrap();
        doomed.join().unwrap();
    });
}
