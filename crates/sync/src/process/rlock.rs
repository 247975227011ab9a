//! [`RLock`]: a lock that its holder can lock again.
//!
//! # Safety
//! The data are reached through shared references only, by the thread that holds the raw lock; they are `Plain`.
#![allow(unsafe_code)]

use std::{
    fmt, io,
    marker::PhantomData,
    mem,
    ops::Deref,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
    time::Duration,
};

use proc_core::{futex::Deadline, shm::ShmSafe};
use serde::{Deserialize, Serialize};

use super::{
    condvar::{WaitGuard, sealed},
    handle::Handle,
    holder::Holder,
    raw::RawLock,
};
use crate::{NotHolder, OwnerDied, Plain, machine::Acquired};

/// A lock that the thread which holds it can lock again; others wait until it was released as often.
///
/// Clones and handed-over copies are the same lock. It takes one descriptor and one page. As several guards of one
/// thread can exist, they give shared access: put the data in a [`Cell`](std::cell::Cell).
///
/// # Crash safety
/// As [`Lock`](super::Lock), at whatever depth.
///
/// # Examples
/// ```
/// use std::cell::Cell;
/// use sync::process::RLock;
///
/// let total = RLock::new(Cell::new(0u64))?;
/// let outer = total.lock()?;
/// let inner = total.lock()?;
/// inner.set(inner.get() + 1);
/// drop(inner);
/// assert_eq!(outer.get(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "ReentrantMutex")]
#[derive(Serialize, Deserialize)]
#[serde(bound = "", transparent)]
pub struct RLock<T: Plain>(Handle<Shared<T>>);

#[repr(C)]
struct Shared<T> {
    raw: RawLock,
    /// How often the holder has locked it; changed by the holder alone.
    depth: AtomicU32,
    /// How many of these have no guard.
    forgotten: AtomicU32,
    data: T,
}

// SAFETY: the data are accessed by the thread that holds the raw lock alone; they are `Plain`, hence `Send`.
unsafe impl<T: Plain> Sync for Shared<T> {}
// SAFETY: `repr(C)`; a lock, atomics and `Plain` data, all valid for any bits, without pointers and without `Drop`.
unsafe impl<T: Plain> ShmSafe for Shared<T> {
    fn is_pinned(&self) -> bool {
        self.raw.is_pinned()
    }
}

type Locked<'a, T> = Result<RLockGuard<'a, T>, OwnerDied<RLockGuard<'a, T>>>;

impl<T: Plain> RLock<T> {
    /// Makes a free lock around `value`.
    ///
    /// # Errors
    /// As [`SharedMemory::new`](proc_core::shm::SharedMemory::new).
    pub fn new(value: T) -> io::Result<Self> {
        let shared = Shared { raw: RawLock::new(), depth: 0.into(), forgotten: 0.into(), data: value };
        Ok(Self(Handle::new(shared)?))
    }

    /// Locks, once more if this thread holds it already; else sleeps for as long as another thread does.
    ///
    /// # Errors
    /// [`OwnerDied`], which holds the guard, if the data may be half changed.
    ///
    /// # Panics
    /// If the calling thread holds 2000 other locks, or has locked this one 2³² times.
    #[doc(alias = "acquire")]
    #[inline]
    pub fn lock(&self) -> Locked<'_, T> {
        if let Some(again) = self.lock_again() {
            return again;
        }
        self.first(self.0.raw.acquire_surely())
    }

    /// Locks if that is possible at once.
    ///
    /// # Errors
    /// [`OwnerDied`], as [`lock`](Self::lock).
    pub fn try_lock(&self) -> Result<Option<RLockGuard<'_, T>>, OwnerDied<RLockGuard<'_, T>>> {
        let again = self.lock_again();
        again.or_else(|| Some(self.first(self.0.raw.try_acquire()?))).transpose()
    }

    /// Locks if that is possible within `timeout`, on the monotonic clock.
    ///
    /// # Errors
    /// [`OwnerDied`], as [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<RLockGuard<'_, T>>, OwnerDied<RLockGuard<'_, T>>> {
        match self.try_lock() {
            Ok(None) => self.0.raw.acquire(Deadline::after(timeout)).map(|acquired| self.first(acquired)).transpose(),
            locked => locked,
        }
    }

    /// Takes back one [`forget`](RLockGuard::forget), as Python's `release`.
    ///
    /// # Errors
    /// [`NotHolder`] if the calling thread does not hold the lock, or has guards only; nothing is released then.
    pub fn release(&self) -> Result<(), NotHolder> {
        let shared = &*self.0;
        if !shared.raw.is_mine() {
            return Err(NotHolder);
        }
        let forgotten = shared.forgotten.load(Relaxed).checked_sub(1).ok_or(NotHolder)?;
        shared.forgotten.store(forgotten, Relaxed);
        self.release_once();
        Ok(())
    }

    /// Whether anybody holds the lock; may have changed by the time it returns.
    pub fn is_locked(&self) -> bool {
        self.0.raw.lock().owner() != 0
    }

    /// Who holds the lock, for a message to a person; may have changed by the time it returns.
    pub fn holder(&self) -> Option<Holder> {
        Holder::of_thread(self.0.raw.lock().owner())
    }

    #[inline]
    fn lock_again(&self) -> Option<Locked<'_, T>> {
        let shared = &*self.0;
        if !shared.raw.is_mine() {
            return None;
        }
        let depth = shared.depth.load(Relaxed).checked_add(1).expect("an RLock was locked 2^32 times");
        shared.depth.store(depth, Relaxed);
        Some(self.guard(shared.raw.lock().is_inconsistent()))
    }

    #[inline]
    fn first(&self, acquired: Acquired) -> Locked<'_, T> {
        // A holder that died may have left other counts.
        self.0.depth.store(1, Relaxed);
        self.0.forgotten.store(0, Relaxed);
        self.guard(acquired == Acquired::Inconsistent)
    }

    #[inline]
    fn guard(&self, is_inconsistent: bool) -> Locked<'_, T> {
        let guard = RLockGuard { lock: self, panicking: thread::panicking(), not_send: PhantomData };
        if is_inconsistent { Err(OwnerDied::new(guard)) } else { Ok(guard) }
    }

    #[inline]
    fn release_once(&self) {
        let depth = self.0.depth.load(Relaxed) - 1;
        self.0.depth.store(depth, Relaxed);
        if depth == 0 {
            self.0.raw.release();
        }
    }
}

impl<T: Plain> Clone for RLock<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Plain> fmt::Debug for RLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RLock").field("holder", &self.0.raw.lock().owner()).finish_non_exhaustive()
    }
}

/// Access to the data of an [`RLock`], until it is dropped.
///
/// It stays on the thread that locked.
#[must_use = "the lock is released when its guard is dropped"]
pub struct RLockGuard<'a, T: Plain> {
    lock: &'a RLock<T>,
    panicking: bool,
    not_send: PhantomData<*mut ()>,
}

impl<T: Plain> RLockGuard<'_, T> {
    /// Says that the data are in order again, after [`OwnerDied`].
    pub fn mark_consistent(&self) {
        self.lock.0.raw.lock().mark_consistent();
    }

    /// Keeps it locked until [`RLock::release`] is called, on the same thread.
    pub fn forget(self) {
        self.lock.0.forgotten.fetch_add(1, Relaxed);
        mem::forget(self);
    }
}

impl<T: Plain> Deref for RLockGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.lock.0.data
    }
}

impl<T: Plain> Drop for RLockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // In a child that was forked meanwhile, this is a copy of its parent's.
        if self.lock.0.raw.is_mine() {
            if !self.panicking && thread::panicking() {
                self.lock.0.raw.lock().mark_inconsistent();
            }
            self.lock.release_once();
        }
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for RLockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Plain> sealed::Sealed for RLockGuard<'_, T> {}

impl<'a, T: Plain> WaitGuard for RLockGuard<'a, T> {
    type Unlocked = (&'a RLock<T>, u32, u32);

    fn unlock(self) -> Self::Unlocked {
        let lock = self.lock;
        mem::forget(self);
        let (depth, forgotten) = (lock.0.depth.load(Relaxed), lock.0.forgotten.load(Relaxed));
        lock.0.raw.release();
        (lock, depth, forgotten)
    }

    fn relock((lock, depth, forgotten): Self::Unlocked) -> Result<Self, OwnerDied<Self>> {
        let guard = lock.lock();
        lock.0.depth.store(depth, Relaxed);
        lock.0.forgotten.store(forgotten, Relaxed);
        guard
    }
}
