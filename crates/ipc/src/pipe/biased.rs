//! A lock that costs next to nothing as long as one thread uses it.
//!
//! Atomic read-modify-writes wait for the processor's store buffer, which at one message each would halve a pipe's
//! speed. So the lock leans towards the thread that used it first: that one enters with plain loads and stores. Another
//! thread takes the lean away with `membarrier`, and after a few changes of hands the lock becomes an ordinary mutex.
//!
//! | `leaning` | enters by |
//! |---|---|
//! | `NOBODY` | `turn`, then leans towards itself |
//! | a thread, and which lean it is | that thread: `busy = 1`, look again at `leaning`; others: `turn`, take the lean away, wait for `busy == 0` |
//! | `SHARED` | `turn`, held throughout |
//!
//! # Safety
//! The value is only reached through a [`Guard`] or [`Leaning`]. There is at most one: under `SHARED` it holds `turn`; under a lean,
//! it belongs to the leaning thread and was made while `busy` was 0 and stayed leaning after `busy` became 1. Each lean
//! has a `busy` of its own, since a thread may still mark its own for a moment when it has lost the lean. Whoever takes
//! a lean away stores `leaning`, has every thread run a fence, and waits for `busy == 0`: the leaning thread's
//! second look either comes before that fence, then `busy == 1` is seen, or after it, then the change is.
#![allow(unsafe_code)]

use std::{
    cell::UnsafeCell,
    ops::{Deref, DerefMut},
    sync::atomic::{
        AtomicU32, AtomicUsize,
        Ordering::{Acquire, Relaxed, Release, SeqCst},
        compiler_fence,
    },
    time::Duration,
};

use kernel::futex::{self, Deadline};
use parking_lot::{Mutex, MutexGuard};

use crate::barrier;

pub(super) struct Biased<T> {
    leaning: AtomicUsize,
    busy: [AtomicU32; MAX_LEANS],
    /// Held by whoever enters without the lean; counts how often the lean has changed.
    turn: Mutex<usize>,
    value: UnsafeCell<T>,
}

// SAFETY: a lock: one thread at a time reaches the value.
unsafe impl<T: Send> Sync for Biased<T> {}

const NOBODY: usize = 0;
const SHARED: usize = 1;
/// The bits of `leaning` that say which of a lock's leans it is.
const LEAN: usize = MAX_LEANS - 1;
/// Fewer than a thread's id has bits to spare for.
const MAX_LEANS: usize = 4;
const MOMENT: Duration = Duration::from_millis(1);

/// How long to wait for a lock.
#[derive(Clone, Copy)]
pub(super) enum Patience {
    /// Not at all (or a moment, if another thread is just passing through).
    None,
    /// Until then; `None` is for ever.
    Until(Option<Deadline>),
}

impl Patience {
    pub(super) const FOREVER: Self = Self::Until(None);

    pub(super) fn of(timeout: Option<Duration>) -> Self {
        Self::Until(timeout.and_then(Deadline::after))
    }
}

impl<T> Biased<T> {
    pub(super) fn new(value: T) -> Self {
        let leaning = if barrier::register_threads() { NOBODY } else { SHARED };
        Self {
            leaning: AtomicUsize::new(leaning),
            busy: [const { AtomicU32::new(0) }; MAX_LEANS],
            turn: Mutex::new(0),
            value: UnsafeCell::new(value),
        }
    }

    /// Enters if the lock leans towards the calling thread, which is nearly always; else call [`lock`](Self::lock).
    ///
    /// # Panics
    /// If the calling thread is inside already.
    #[inline(always)]
    pub(super) fn enter_leaning(&self) -> Option<Leaning<'_, T>> {
        let leaning = self.leaning.load(Relaxed);
        if leaning & !LEAN == thread_id() { self.enter(leaning) } else { None }
    }

    /// Enters; `None` if that took longer than `patience`.
    ///
    /// # Panics
    /// If the calling thread is inside already.
    #[cold]
    pub(super) fn lock(&self, patience: Patience) -> Option<Guard<'_, T>> {
        match self.enter_leaning() {
            Some(inside) => Some(Guard::Leaning(inside)),
            None => self.lock_slow(thread_id(), patience),
        }
    }

    /// As the leaning thread; `None` if the lock does not lean that way any more.
    #[inline(always)]
    fn enter(&self, leaning: usize) -> Option<Leaning<'_, T>> {
        let busy = self.busy(leaning);
        assert!(busy.load(Relaxed) == 0, "a value's own Serialize used the connection that it is being sent over");
        busy.store(1, Relaxed);
        compiler_fence(SeqCst);
        if self.leaning.load(Relaxed) == leaning {
            return Some(Leaning(self, leaning));
        }
        self.leave(leaning);
        None
    }

    #[inline(always)]
    fn busy(&self, leaning: usize) -> &AtomicU32 {
        &self.busy[leaning & LEAN]
    }

    #[inline(always)]
    fn leave(&self, leaning: usize) {
        self.busy(leaning).store(0, Release);
        compiler_fence(SeqCst);
        if self.leaning.load(Relaxed) != leaning {
            self.wake(leaning);
        }
    }

    #[cold]
    fn wake(&self, leaning: usize) {
        futex::wake(self.busy(leaning), u32::MAX);
    }

    fn lock_slow(&self, me: usize, patience: Patience) -> Option<Guard<'_, T>> {
        let deadline = match patience {
            Patience::None => Deadline::after(MOMENT),
            Patience::Until(deadline) => deadline,
        };
        let mut turn = match deadline {
            None => self.turn.lock(),
            Some(deadline) => self.turn.try_lock_for(deadline.remaining())?,
        };
        let leaning = self.leaning.load(Relaxed);
        if leaning == SHARED {
            return Some(Guard::Shared(self, turn));
        }
        let next = if *turn < MAX_LEANS { me | *turn } else { SHARED };
        if leaning != NOBODY {
            self.leaning.store(SHARED, Relaxed);
            barrier::among_threads();
            if !wait_until_idle(self.busy(leaning), deadline) {
                self.leaning.store(leaning, Relaxed);
                return None;
            }
        }
        *turn += 1;
        if next == SHARED {
            self.leaning.store(SHARED, Relaxed);
            return Some(Guard::Shared(self, turn));
        }
        self.busy(next).store(1, Relaxed);
        self.leaning.store(next, Release);
        Some(Guard::Leaning(Leaning(self, next)))
    }

    pub(super) fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

fn wait_until_idle(busy: &AtomicU32, deadline: Option<Deadline>) -> bool {
    loop {
        if busy.load(Acquire) == 0 {
            return true;
        }
        if deadline.is_some_and(|d| d.has_passed()) {
            return false;
        }
        futex::wait(busy, 1, deadline);
    }
}

/// Entry to the value, until dropped, for the thread that the lock leans to.
pub(super) struct Leaning<'a, T>(&'a Biased<T>, usize);

/// Entry to the value, until dropped.
pub(super) enum Guard<'a, T> {
    Leaning(Leaning<'a, T>),
    Shared(&'a Biased<T>, #[allow(dead_code, reason = "held")] MutexGuard<'a, usize>),
}

impl<T> Deref for Leaning<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: this is the only entry.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for Leaning<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this is the only entry.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for Leaning<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Leaning(entry) => entry,
            // SAFETY: this is the only entry.
            Self::Shared(lock, _) => unsafe { &*lock.value.get() },
        }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        match self {
            Self::Leaning(entry) => entry,
            // SAFETY: this is the only entry.
            Self::Shared(lock, _) => unsafe { &mut *lock.value.get() },
        }
    }
}

/// Tells threads apart while they live; more than `SHARED`, and no bit of `LEAN` is set.
#[inline(always)]
fn thread_id() -> usize {
    thread_local!(static HERE: u64 = const { 0 });
    const { assert!(align_of::<u64>() > LEAN) };
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_lost_the_lean_and_has_not_noticed_lets_nobody_in() {
        let lock = Biased::new(0);
        drop(lock.lock(Patience::None));
        let lean = lock.leaning.load(Relaxed);
        std::thread::scope(|s| {
            let (inside, is_inside) = std::sync::mpsc::channel();
            let (leave, may_leave) = std::sync::mpsc::channel::<()>();
            let lock = &lock;
            s.spawn(move || {
                let _entry = lock.lock(Patience::None).expect("nobody is inside");
                inside.send(()).expect("the test waits");
                let _ = may_leave.recv();
            });
            is_inside.recv().expect("the thread goes inside");
            // As if it had been interrupted between its two looks at `leaning`.
            assert!(lock.enter(lean).is_none());
            assert!(lock.lock(Patience::None).is_none());
            drop(leave);
        });
    }
}
