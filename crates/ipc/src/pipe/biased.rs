//! A lock that costs next to nothing as long as one thread uses it.
//!
//! Atomic read-modify-writes wait for the processor's store buffer, which at one message each would halve a pipe's
//! speed. So the lock leans towards the thread that used it first: that one enters with plain loads and stores. Another
//! thread takes the lean away with `membarrier`, and after a few changes of hands the lock becomes an ordinary mutex.
//!
//! | `leaning` | enters by |
//! |---|---|
//! | `NOBODY` | `turn`, then leans towards itself |
//! | a thread | that thread: `busy = 1`, look again at `leaning`; others: `turn`, take the lean away, wait for `busy == 0` |
//! | `SHARED` | `turn`, held throughout |
//!
//! # Safety
//! The value is only reached through a [`Guard`] or [`Leaning`]. There is at most one: under `SHARED` it holds `turn`; under a lean,
//! it belongs to the leaning thread and was made while `busy` was 0 and stayed leaning after `busy` became 1. Whoever
//! takes a lean away stores `leaning`, has every thread run a fence, and waits for `busy == 0`: the leaning thread's
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

use parking_lot::{Mutex, MutexGuard};
use proc_core::futex::{self, Deadline};

use crate::barrier;

pub(super) struct Biased<T> {
    leaning: AtomicUsize,
    busy: AtomicU32,
    /// Held by whoever enters without the lean; counts how often the lean has changed.
    turn: Mutex<u32>,
    value: UnsafeCell<T>,
}

// SAFETY: a lock: one thread at a time reaches the value.
unsafe impl<T: Send> Sync for Biased<T> {}

const NOBODY: usize = 0;
const SHARED: usize = 1;
const MAX_LEANS: u32 = 4;
const MOMENT: Duration = Duration::from_millis(1);

/// How long to wait for a lock.
#[derive(Clone, Copy)]
pub(super) enum Patience {
    /// Not at all (or a moment, if another thread is just passing through).
    None,
    /// Until then; `None` is for ever.
    Until(Option<Deadline>),
}

impl<T> Biased<T> {
    pub(super) fn new(value: T) -> Self {
        let leaning = if barrier::register_threads() { NOBODY } else { SHARED };
        Self {
            leaning: AtomicUsize::new(leaning),
            busy: AtomicU32::new(0),
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
        let me = thread_id();
        if self.leaning.load(Relaxed) == me && self.enter(me) { Some(Leaning(self)) } else { None }
    }

    /// Enters; `None` if that took longer than `patience`.
    ///
    /// # Panics
    /// If the calling thread is inside already.
    #[cold]
    pub(super) fn lock(&self, patience: Patience) -> Option<Guard<'_, T>> {
        let me = thread_id();
        if self.leaning.load(Relaxed) == me && self.enter(me) {
            return Some(Guard::Leaning(Leaning(self)));
        }
        self.lock_slow(me, patience)
    }

    /// As the leaning thread; false if the lock does not lean that way any more.
    #[inline(always)]
    fn enter(&self, me: usize) -> bool {
        assert!(self.busy.load(Relaxed) == 0, "a value's own Serialize used the connection that it is being sent over");
        self.busy.store(1, Relaxed);
        compiler_fence(SeqCst);
        let still = self.leaning.load(Relaxed) == me;
        if !still {
            self.leave(me);
        }
        still
    }

    #[inline(always)]
    fn leave(&self, me: usize) {
        self.busy.store(0, Release);
        compiler_fence(SeqCst);
        if self.leaning.load(Relaxed) != me {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        futex::wake(&self.busy, u32::MAX);
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
        let next = if *turn < MAX_LEANS { me } else { SHARED };
        if leaning != NOBODY {
            self.leaning.store(SHARED, Relaxed);
            barrier::among_threads();
            if !self.wait_until_idle(deadline) {
                self.leaning.store(leaning, Relaxed);
                return None;
            }
        }
        *turn += 1;
        if next == SHARED {
            self.leaning.store(SHARED, Relaxed);
            return Some(Guard::Shared(self, turn));
        }
        self.busy.store(1, Relaxed);
        self.leaning.store(next, Release);
        Some(Guard::Leaning(Leaning(self)))
    }

    fn wait_until_idle(&self, deadline: Option<Deadline>) -> bool {
        loop {
            if self.busy.load(Acquire) == 0 {
                return true;
            }
            if deadline.is_some_and(|d| d.has_passed()) {
                return false;
            }
            futex::wait(&self.busy, 1, deadline);
        }
    }
}

/// Entry to the value, until dropped, for the thread that the lock leans to.
pub(super) struct Leaning<'a, T>(&'a Biased<T>);

/// Entry to the value, until dropped.
pub(super) enum Guard<'a, T> {
    Leaning(Leaning<'a, T>),
    Shared(&'a Biased<T>, #[allow(dead_code, reason = "held")] MutexGuard<'a, u32>),
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
        self.0.leave(thread_id());
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

/// Tells threads apart while they live; neither `NOBODY` nor `SHARED`.
#[inline(always)]
fn thread_id() -> usize {
    thread_local!(static HERE: u64 = const { 0 });
    HERE.with(|here| std::ptr::from_ref(here).addr())
}
