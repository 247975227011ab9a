//! A biased lock: it costs next to nothing as long as one thread uses it.
//!
//! Atomic read-modify-writes wait for the processor's store buffer, which at one message each would halve a pipe's
//! speed. So the lock is biased towards the thread that used it first: that thread enters with plain loads and stores.
//! Another thread revokes the bias with `membarrier`. After a few revocations the lock becomes an ordinary mutex.
//!
//! | `bias` | which thread enters, and how |
//! |---|---|
//! | `NOBODY` | any thread: takes `turn`, and biases the lock towards itself |
//! | a thread, and the number of its bias | that thread: `busy = 1`, then reads `bias` again; others: take `turn`, revoke the bias, wait for `busy == 0` |
//! | `SHARED` | any thread: holds `turn` throughout |
//!
//! | `busy` (one for each bias) | meaning | who writes it |
//! |---|---|---|
//! | 0 | the biased thread is outside | the biased thread |
//! | 1 | it is inside, or about to find out that it has lost its bias | the biased thread; a thread that biases the lock, before it does |
//!
//! # Why at most one thread is inside
//! Under `SHARED`, the thread inside holds `turn`. Under a bias, the biased thread is inside: it came in while `busy`
//! was 0, and saw its bias once more after `busy` had become 1. Each bias has a `busy` of its own, since a thread may
//! still write its own for a moment after it has lost the bias.
//!
//! A revoker of a bias stores `bias`, makes every thread of this process run a fence, and waits for `busy == 0`. If the
//! biased thread's second look at `bias` comes before that fence, the revoker sees `busy == 1`. If it comes after it, the
//! biased thread sees the new `bias`. Without the fence neither holds: then the bias is put back, and the caller gets
//! [`Blocked::Refused`].
//!
//! # Safety
//! The value is only reached through a [`BiasGuard`] or a [`Guard`], and at most one thread has one.
#![allow(unsafe_code)]

use std::{
    cell::UnsafeCell,
    ops::{Deref, DerefMut},
    sync::atomic::Ordering::{Acquire, Relaxed, Release},
    time::Duration,
};

use crate::{
    barrier,
    platform::{
        AtomicU32, AtomicUsize, Mutex, MutexGuard, THREAD_ID_STEP,
        futex::{self, Deadline},
        light_fence, thread_id,
    },
};

pub(super) struct Biased<T> {
    bias: AtomicUsize,
    busy: [AtomicU32; MAX_BIASES],
    /// Held by a thread that enters without the bias; counts how often the lock has been biased.
    turn: Mutex<usize>,
    value: UnsafeCell<T>,
}

// SAFETY: a lock: one thread at a time reaches the value.
unsafe impl<T: Send> Sync for Biased<T> {}

const NOBODY: usize = 0;
const SHARED: usize = 1;
/// The bits of `bias` that say which of a lock's biases it is.
const BIAS_NUMBER: usize = MAX_BIASES - 1;
/// How many fit into the bits that are 0 in the id of a thread.
const MAX_BIASES: usize = 4;
const MOMENT: Duration = Duration::from_millis(1);

const _: () = assert!(THREAD_ID_STEP > BIAS_NUMBER && THREAD_ID_STEP > SHARED);

/// How long to wait for a lock.
#[derive(Clone, Copy)]
pub(super) enum WaitLimit {
    /// Not at all (or a moment, if another thread is just passing through).
    None,
    /// Until that deadline; `None` is for ever.
    Until(Option<Deadline>),
}

/// Why a lock was not acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocked {
    /// The deadline passed.
    TimedOut,
    /// The lock is biased towards another thread, and the kernel refuses the `membarrier(2)` that revoking it takes.
    Refused,
}

impl WaitLimit {
    pub(super) const FOREVER: Self = Self::Until(None);

    pub(super) fn of(timeout: Option<Duration>) -> Self {
        Self::Until(timeout.and_then(Deadline::after))
    }

    /// Until when to wait for a lock that others only pass through.
    pub(super) fn deadline(self) -> Option<Deadline> {
        match self {
            Self::None => Deadline::after(MOMENT),
            Self::Until(deadline) => deadline,
        }
    }
}

impl<T> Biased<T> {
    pub(super) fn new(value: T) -> Self {
        let bias = if barrier::register_threads() { NOBODY } else { SHARED };
        Self {
            bias: AtomicUsize::new(bias),
            busy: std::array::from_fn(|_| AtomicU32::new(0)),
            turn: Mutex::new(0),
            value: UnsafeCell::new(value),
        }
    }

    /// Enters if the lock is biased towards the calling thread, as it nearly always is; else call [`lock`](Self::lock).
    ///
    /// # Panics
    /// If the calling thread is inside already.
    #[inline(always)]
    pub(super) fn enter_biased(&self) -> Option<BiasGuard<'_, T>> {
        // Relaxed: a thread reads its own id only where it stored it itself, or has lost the bias meanwhile, which
        // `enter` finds out.
        let bias = self.bias.load(Relaxed);
        if bias & !BIAS_NUMBER == thread_id() { self.enter(bias) } else { None }
    }

    /// Enters, waiting as long as `limit` says.
    ///
    /// # Errors
    /// See [`Blocked`].
    ///
    /// # Panics
    /// If the calling thread is inside already.
    #[cold]
    pub(super) fn lock(&self, limit: WaitLimit) -> Result<Guard<'_, T>, Blocked> {
        match self.enter_biased() {
            Some(inside) => Ok(Guard::Biased(inside)),
            None => self.lock_slow(thread_id(), limit),
        }
    }

    /// As the thread with that bias; `None` if the lock is not biased so any more.
    #[inline(always)]
    fn enter(&self, bias: usize) -> Option<BiasGuard<'_, T>> {
        let busy = self.busy(bias);
        // Relaxed: only this thread writes it while it has the bias.
        assert!(busy.load(Relaxed) == 0, "a value's own Serialize used the connection that it is being sent over");
        // Relaxed, and in this order for a thread that revokes the bias: see the module.
        busy.store(1, Relaxed);
        light_fence();
        if self.bias.load(Relaxed) == bias {
            return Some(BiasGuard(self, bias));
        }
        self.leave(bias);
        None
    }

    #[inline(always)]
    fn busy(&self, bias: usize) -> &AtomicU32 {
        &self.busy[bias & BIAS_NUMBER]
    }

    #[inline(always)]
    fn leave(&self, bias: usize) {
        // Release: a thread that sees the 0 sees what was done inside.
        self.busy(bias).store(0, Release);
        light_fence();
        // Relaxed, after the store, for a thread that revokes the bias: it sees the 0, or this sees that it may be asleep.
        if self.bias.load(Relaxed) != bias {
            self.wake(bias);
        }
    }

    #[cold]
    fn wake(&self, bias: usize) {
        futex::wake(self.busy(bias), u32::MAX);
    }

    fn lock_slow(&self, me: usize, limit: WaitLimit) -> Result<Guard<'_, T>, Blocked> {
        let deadline = limit.deadline();
        let mut turn = match deadline {
            None => self.turn.lock(),
            Some(deadline) => self.turn.try_lock_for(deadline.remaining()).ok_or(Blocked::TimedOut)?,
        };
        // Relaxed, as all of `bias` here: it is written under `turn` only.
        let bias = self.bias.load(Relaxed);
        if bias == SHARED {
            return Ok(Guard::Shared(self, turn));
        }
        // This thread's own bias was lost and put back meanwhile: there is no other thread to wait for.
        if bias != NOBODY && bias & !BIAS_NUMBER != me {
            self.bias.store(SHARED, Relaxed);
            let revoked = if barrier::among_threads() {
                wait_until_idle(self.busy(bias), deadline)
            } else {
                Err(Blocked::Refused)
            };
            if let Err(blocked) = revoked {
                self.bias.store(bias, Relaxed);
                return Err(blocked);
            }
        }
        let next = if *turn < MAX_BIASES { me | *turn } else { SHARED };
        *turn += 1;
        if next == SHARED {
            self.bias.store(SHARED, Relaxed);
            return Ok(Guard::Shared(self, turn));
        }
        self.busy(next).store(1, Relaxed);
        self.bias.store(next, Relaxed);
        Ok(Guard::Biased(BiasGuard(self, next)))
    }

    pub(super) fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

fn wait_until_idle(busy: &AtomicU32, deadline: Option<Deadline>) -> Result<(), Blocked> {
    loop {
        // Acquire: what was done inside is seen.
        if busy.load(Acquire) == 0 {
            return Ok(());
        }
        if deadline.is_some_and(|d| d.has_passed()) {
            return Err(Blocked::TimedOut);
        }
        futex::wait(busy, 1, deadline);
    }
}

/// Being inside, until dropped, for the thread that the lock is biased towards.
pub(super) struct BiasGuard<'a, T>(&'a Biased<T>, usize);

/// Being inside, until dropped.
pub(super) enum Guard<'a, T> {
    Biased(BiasGuard<'a, T>),
    Shared(&'a Biased<T>, #[allow(dead_code, reason = "held")] MutexGuard<'a, usize>),
}

impl<T> Deref for BiasGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the calling thread is inside, and no other is: see the module.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for BiasGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above; the thread has one guard, which is borrowed mutably.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for BiasGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Biased(inside) => inside,
            // SAFETY: under `SHARED`, the holder of `turn` is inside alone.
            Self::Shared(lock, _) => unsafe { &*lock.value.get() },
        }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        match self {
            Self::Biased(inside) => inside,
            // SAFETY: as above; the guard is borrowed mutably.
            Self::Shared(lock, _) => unsafe { &mut *lock.value.get() },
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{sync::mpsc, thread};

    use test_support::{sandbox, watchdog};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn a_thread_that_lost_the_bias_and_has_not_noticed_lets_nobody_in() {
        let lock = Biased::new(0);
        drop(lock.lock(WaitLimit::None));
        let bias = lock.bias.load(Relaxed);
        thread::scope(|s| {
            let (inside, is_inside) = mpsc::channel();
            let (leave, may_leave) = mpsc::channel::<()>();
            let lock = &lock;
            s.spawn(move || {
                let _entry = lock.lock(WaitLimit::None).expect("nobody is inside");
                inside.send(()).expect("the test waits");
                let _ = may_leave.recv();
            });
            is_inside.recv().expect("the thread goes inside");
            // As if it had been interrupted between its two looks at `bias`.
            assert!(lock.enter(bias).is_none());
            assert!(lock.lock(WaitLimit::None).is_err());
            drop(leave);
        });
    }

    #[test]
    fn a_thread_that_may_not_have_others_fence_is_not_let_in() {
        let _dog = watchdog(LIMIT);
        let lock = &Biased::new(0);
        *lock.lock(WaitLimit::None).expect("nobody is inside") += 1;
        thread::scope(|s| {
            // The filter is this thread's alone.
            s.spawn(|| {
                sandbox::deny(&[libc::SYS_membarrier]);
                assert!(matches!(lock.lock(WaitLimit::FOREVER), Err(Blocked::Refused)));
                assert!(matches!(lock.lock(WaitLimit::None), Err(Blocked::Refused)));
            });
        });
        // The bias is where it was, and another thread that may revoke it does.
        *lock.enter_biased().expect("it has been put back") += 1;
        thread::scope(|s| {
            s.spawn(|| *lock.lock(WaitLimit::FOREVER).expect("it may fence") += 1);
        });
        assert_eq!(*lock.lock(WaitLimit::FOREVER).expect("nobody is inside"), 3);
    }
}
