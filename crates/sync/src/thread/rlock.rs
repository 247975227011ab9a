//! [`RLock`]: a lock that its holder can lock again.
//!
//! # Safety
//! The data are reached through shared references, by the thread alone that `owner` names and that holds `raw`.
//! `depth` and `forgotten` are changed by that thread alone.
//!
//! Orderings: all `Relaxed`. What one holder leaves is seen by the next by way of `raw`; a thread that does not hold the lock
//! may read any `owner` but its own number.
#![allow(unsafe_code)]

use std::{
    fmt,
    marker::PhantomData,
    mem,
    ops::Deref,
    sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use lock_api::{GetThreadId, RawMutex as _, RawMutexTimed};
use parking_lot::RawThreadId;

use super::{
    condvar::{Lend, WaitGuard, sealed},
    lock::RawLock,
};
use crate::NotHolder;

/// A lock that the thread which holds it can lock again; others wait until it was released as often.
///
/// As several guards of one thread can exist, they give shared access: put the data in a [`Cell`](std::cell::Cell) or
/// [`RefCell`](std::cell::RefCell).
///
/// # Examples
/// ```
/// use std::cell::Cell;
///
/// let total = sync::thread::RLock::new(Cell::new(0u64));
/// let outer = total.lock();
/// let inner = total.lock();
/// inner.set(inner.get() + 1);
/// drop(inner);
/// assert_eq!(outer.get(), 1);
/// ```
#[doc(alias = "ReentrantMutex")]
pub struct RLock<T: ?Sized> {
    raw: RawLock,
    /// The number of the thread that holds it, or 0.
    owner: AtomicUsize,
    /// How often the holder has locked it.
    depth: AtomicU32,
    /// How many of these have no guard.
    forgotten: AtomicU32,
    data: T,
}

// SAFETY: the data are accessed by one thread at a time.
unsafe impl<T: ?Sized + Send> Sync for RLock<T> {}

impl<T> RLock<T> {
    /// Makes a free lock around `value`.
    pub const fn new(value: T) -> Self {
        Self {
            raw: RawLock::INIT,
            owner: AtomicUsize::new(0),
            depth: AtomicU32::new(0),
            forgotten: AtomicU32::new(0),
            data: value,
        }
    }

    /// The data.
    pub fn into_inner(self) -> T {
        self.data
    }
}

impl<T: Default> Default for RLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for RLock<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized> RLock<T> {
    /// Locks, once more if this thread holds it already; else sleeps for as long as another thread does.
    ///
    /// # Panics
    /// If the calling thread has locked it 2³² times.
    #[doc(alias = "acquire")]
    #[inline]
    pub fn lock(&self) -> RLockGuard<'_, T> {
        if let Some(again) = self.lock_again() {
            return again;
        }
        self.raw.lock();
        self.first()
    }

    /// Locks if that is possible at once.
    pub fn try_lock(&self) -> Option<RLockGuard<'_, T>> {
        self.lock_again().or_else(|| self.raw.try_lock().then(|| self.first()))
    }

    /// Locks if that is possible within `timeout`.
    pub fn lock_timeout(&self, timeout: Duration) -> Option<RLockGuard<'_, T>> {
        self.lock_again().or_else(|| self.raw.try_lock_for(timeout).then(|| self.first()))
    }

    /// Locks if that is possible before `deadline`.
    pub fn lock_deadline(&self, deadline: Instant) -> Option<RLockGuard<'_, T>> {
        self.lock_again().or_else(|| self.raw.try_lock_until(deadline).then(|| self.first()))
    }

    /// The data, without locking: no other thread can have the lock.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.data
    }

    /// Takes back one [`forget`](RLockGuard::forget), as Python's `release`.
    ///
    /// # Errors
    /// [`NotHolder`] if the calling thread does not hold the lock, or has guards only; nothing is released then.
    pub fn release(&self) -> Result<(), NotHolder> {
        if !self.is_mine() {
            return Err(NotHolder);
        }
        let forgotten = self.forgotten.load(Relaxed).checked_sub(1).ok_or(NotHolder)?;
        self.forgotten.store(forgotten, Relaxed);
        self.release_once();
        Ok(())
    }

    /// Whether any thread holds the lock; may have changed by the time it returns.
    pub fn is_locked(&self) -> bool {
        self.raw.is_locked()
    }

    fn is_mine(&self) -> bool {
        // Relaxed: only the calling thread itself can have put its number here.
        self.owner.load(Relaxed) == me()
    }

    #[inline]
    fn lock_again(&self) -> Option<RLockGuard<'_, T>> {
        if !self.is_mine() {
            return None;
        }
        let depth = self.depth.load(Relaxed).checked_add(1).expect("an RLock was locked 2^32 times");
        self.depth.store(depth, Relaxed);
        Some(RLockGuard { lock: self, not_send: PhantomData })
    }

    #[inline]
    fn first(&self) -> RLockGuard<'_, T> {
        self.owner.store(me(), Relaxed);
        self.depth.store(1, Relaxed);
        RLockGuard { lock: self, not_send: PhantomData }
    }

    #[inline]
    fn release_once(&self) {
        let depth = self.depth.load(Relaxed) - 1;
        self.depth.store(depth, Relaxed);
        if depth == 0 {
            self.release_all();
        }
    }

    fn release_all(&self) {
        self.depth.store(0, Relaxed);
        self.forgotten.store(0, Relaxed);
        self.owner.store(0, Relaxed);
        // SAFETY: the calling thread holds it.
        unsafe { self.raw.unlock() };
    }
}

/// The calling thread's number; never 0.
fn me() -> usize {
    RawThreadId::INIT.nonzero_thread_id().get()
}

impl<T: ?Sized> fmt::Debug for RLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RLock").field("is_locked", &self.is_locked()).finish_non_exhaustive()
    }
}

/// Access to the data of an [`RLock`], until it is dropped.
///
/// It stays on the thread that locked.
#[must_use = "the lock is released when its guard is dropped"]
pub struct RLockGuard<'a, T: ?Sized> {
    lock: &'a RLock<T>,
    not_send: PhantomData<*mut ()>,
}

// SAFETY: `&RLockGuard` gives `&T`, which may be shared, and `recursion_count`, which reads an atomic.
unsafe impl<T: ?Sized + Sync> Sync for RLockGuard<'_, T> {}

impl<'a, T: ?Sized> RLockGuard<'a, T> {
    /// A guard of a part of the data.
    pub fn map<U: ?Sized>(guard: Self, part: impl FnOnce(&T) -> &U) -> MappedRLockGuard<'a, T, U> {
        let part = part(&guard.lock.data);
        MappedRLockGuard { part, guard }
    }

    /// How often the thread has locked it and not released: 1 if this is the only guard.
    pub fn recursion_count(&self) -> u32 {
        self.lock.depth.load(Relaxed)
    }

    /// Keeps it locked until [`RLock::release`] is called, on the same thread.
    pub fn forget(self) {
        self.lock.forgotten.fetch_add(1, Relaxed);
        mem::forget(self);
    }
}

impl<T: ?Sized> Deref for RLockGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.lock.data
    }
}

impl<T: ?Sized> Drop for RLockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.release_once();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RLockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Access to a part of the data of an [`RLock`], until it is dropped. See [`RLockGuard::map`].
#[must_use = "the lock is released when its guard is dropped"]
pub struct MappedRLockGuard<'a, T: ?Sized, U: ?Sized> {
    part: &'a U,
    guard: RLockGuard<'a, T>,
}

impl<'a, T: ?Sized, U: ?Sized> MappedRLockGuard<'a, T, U> {
    /// A guard of a smaller part.
    pub fn map<V: ?Sized>(mapped: Self, part: impl FnOnce(&U) -> &V) -> MappedRLockGuard<'a, T, V> {
        MappedRLockGuard { part: part(mapped.part), guard: mapped.guard }
    }
}

impl<T: ?Sized, U: ?Sized> Deref for MappedRLockGuard<'_, T, U> {
    type Target = U;

    fn deref(&self) -> &U {
        self.part
    }
}

impl<T: ?Sized, U: ?Sized + fmt::Debug> fmt::Debug for MappedRLockGuard<'_, T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MappedRLockGuard").field(&self.part).field(&self.guard.recursion_count()).finish()
    }
}

impl<T: ?Sized> sealed::Sealed for RLockGuard<'_, T> {}

impl<'d, T: ?Sized> Lend<'d> for RLockGuard<'_, T> {
    type Data = &'d T;
}

impl<T: ?Sized> WaitGuard for RLockGuard<'_, T> {
    fn data(&mut self) -> &T {
        self
    }

    fn unlocked<R>(&mut self, sleep: impl FnOnce() -> R) -> R {
        let lock = self.lock;
        let (depth, forgotten) = (lock.depth.load(Relaxed), lock.forgotten.load(Relaxed));
        lock.release_all();
        let slept = sleep();
        lock.raw.lock();
        lock.owner.store(me(), Relaxed);
        lock.depth.store(depth, Relaxed);
        lock.forgotten.store(forgotten, Relaxed);
        slept
    }
}
