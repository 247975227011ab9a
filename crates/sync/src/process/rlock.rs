//! [`RLock`]: a lock that its holder can lock again.
//!
//! # Safety
//! The data are reached through shared references only, by the thread that holds the raw lock; they are `Plain`. A lock
//! stays where it is while it is held, as a `Lock` does.
//!
//! Orderings: the counts are the holder's, so `Relaxed`: the raw lock's acquisition and release order them between holders.
#![allow(unsafe_code)]

use std::{
    fmt, io, mem,
    ops::Deref,
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use kernel::{futex::Deadline, shm::ShmSafe};
#[cfg(feature = "serde")]
use serde::Deserialize;

use super::{
    condvar::{Lend, WaitGuard, sealed},
    handle::Handle,
    holder::Holder,
    raw::RawLock,
    tenure::Tenure,
};
use crate::{NotHolder, OwnerDied, Plain, machine::Acquired, sys::robust::ThreadList, time::remaining};

/// A count that is not counted on: the lock then stays with its holder for as long as that lives, since nothing says
/// which of its guards is the last.
const FULL: u32 = u32::MAX;

/// A lock that the thread which holds it can lock again; others wait until it was released as often.
///
/// Clones and handed-over copies are the same lock. It takes one descriptor and one page. As several guards of one
/// thread can exist, they give shared access: put the data in a [`Cell`](std::cell::Cell).
///
/// # Crash safety
/// As [`Lock`](super::Lock), at whatever depth. At a depth of 2<sup>32</sup>, which garbage in the memory can pretend, it
/// stays locked until its holder ends.
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
#[cfg_attr(feature = "serde", derive(Deserialize), serde(bound = "", transparent))]
pub struct RLock<T: Plain>(Handle<SharedRLock<T>>);

#[cfg(feature = "serde")]
kernel::serialize_as_inner!(RLock<T> where T: [Plain]);

#[repr(C)]
pub(super) struct SharedRLock<T> {
    pub(super) raw: RawLock,
    /// How often the holder has locked it beside the first time; only the holder changes it, and leaves 0. It stays at
    /// [`FULL`], to which only another program's garbage brings it in practice.
    pub(super) again: AtomicU32,
    /// How many of these have no guard.
    forgotten: AtomicU32,
    data: T,
}

// SAFETY: the data are accessed by the thread that holds the raw lock alone; they are `Plain`, hence `Send`.
unsafe impl<T: Plain> Sync for SharedRLock<T> {}
// SAFETY: `repr(C)`; a lock, atomics and `Plain` data, all valid for any bits, without pointers and without `Drop`.
unsafe impl<T: Plain> ShmSafe for SharedRLock<T> {
    fn is_pinned(&self) -> bool {
        self.raw.is_pinned()
    }

    fn note_other_namespaces(&self) {
        self.raw.note_other_namespaces();
    }
}

type Locked<'a, T> = Result<RLockGuard<'a, T>, OwnerDied<RLockGuard<'a, T>>>;

impl<T: Plain> RLock<T> {
    /// Makes a free lock around `value`.
    ///
    /// # Errors
    /// As [`SharedMemory::new`](kernel::shm::SharedMemory::new).
    pub fn new(value: T) -> io::Result<Self> {
        let shared = SharedRLock { raw: RawLock::new(), again: 0.into(), forgotten: 0.into(), data: value };
        Ok(Self(Handle::new(shared)?))
    }

    /// Locks, once more if this thread holds it already; else sleeps for as long as another thread does.
    ///
    /// # Errors
    /// [`OwnerDied`], which holds the guard, if the data may be half changed.
    ///
    /// # Panics
    /// If the calling thread holds 2000 other locks.
    #[doc(alias = "acquire")]
    #[inline]
    pub fn lock(&self) -> Locked<'_, T> {
        self.0.lock()
    }

    /// Locks if that is possible at once.
    ///
    /// # Errors
    /// [`OwnerDied`], as [`lock`](Self::lock).
    pub fn try_lock(&self) -> Result<Option<RLockGuard<'_, T>>, OwnerDied<RLockGuard<'_, T>>> {
        let again = self.0.lock_again();
        // SAFETY: it stays where it is while it is held (see the module).
        again.or_else(|| Some(self.0.first(unsafe { self.0.raw.try_acquire() }?))).transpose()
    }

    /// Locks if that is possible within `timeout`, on the monotonic clock.
    ///
    /// # Errors
    /// [`OwnerDied`], as [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<RLockGuard<'_, T>>, OwnerDied<RLockGuard<'_, T>>> {
        // SAFETY: it stays where it is while it is held (see the module).
        if let Some(list) = unsafe { self.0.raw.try_acquire_idle() } {
            self.0.set_counts([0, 0]);
            return Ok(Some(self.0.guard(list)));
        }
        let again = self.0.lock_again();
        // SAFETY: as above.
        let first = || Some(self.0.first(unsafe { self.0.raw.acquire(Deadline::after(timeout)) }?));
        again.or_else(first).transpose()
    }

    /// As [`lock_timeout`](Self::lock_timeout), until `deadline`.
    ///
    /// # Errors
    /// [`OwnerDied`], as [`lock`](Self::lock).
    pub fn lock_deadline(&self, deadline: Instant) -> Result<Option<RLockGuard<'_, T>>, OwnerDied<RLockGuard<'_, T>>> {
        self.lock_timeout(remaining(deadline))
    }

    /// Waits until no other thread holds the lock and returns a copy of the data; other handles can go on using the lock.
    ///
    /// # Errors
    /// [`OwnerDied`] with the data, if they may be half changed.
    pub fn into_inner(self) -> Result<T, OwnerDied<T>> {
        // SAFETY: the guard keeps all other threads out, and `Plain` data may be copied bit by bit.
        let copy = |guard: RLockGuard<'_, T>| unsafe { std::ptr::read(&raw const guard.lock.data) };
        match self.lock() {
            Ok(guard) => Ok(copy(guard)),
            Err(died) => Err(died.map(copy)),
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
        drop(shared.guard(ThreadList::of_holder()));
        Ok(())
    }

    /// Whether the lock is held; may have changed by the time it returns.
    pub fn is_locked(&self) -> bool {
        self.0.raw.lock().owner() != 0
    }

    /// The holder of the lock, for a message to a person; may have changed by the time it returns.
    pub fn holder(&self) -> Option<Holder> {
        self.0.raw.holder()
    }
}

impl<T: Plain> SharedRLock<T> {
    #[inline]
    fn lock(&self) -> Locked<'_, T> {
        // SAFETY: it stays where it is while it is held (see the module).
        if let Some(list) = unsafe { self.raw.try_acquire_idle() } {
            self.set_counts([0, 0]);
            return Ok(self.guard(list));
        }
        self.lock_slowly()
    }

    #[cold]
    #[inline(never)]
    fn lock_slowly(&self) -> Locked<'_, T> {
        // SAFETY: it stays where it is while it is held (see the module).
        self.lock_again().unwrap_or_else(|| self.first(unsafe { self.raw.wait_surely() }))
    }

    fn lock_again(&self) -> Option<Locked<'_, T>> {
        let list = self.raw.list_of_mine()?;
        self.again.store(self.again.load(Relaxed).saturating_add(1), Relaxed);
        Some(self.report(list, self.raw.lock().is_inconsistent()))
    }

    fn first(&self, acquired: Acquired) -> Locked<'_, T> {
        self.set_counts([0, 0]);
        self.report(ThreadList::of_holder(), acquired == Acquired::Inconsistent)
    }

    /// They are 0 in a free lock, unless a holder died, or another program has overwritten the memory: so a new holder
    /// does not rely on that.
    fn set_counts(&self, [again, forgotten]: [u32; 2]) {
        self.again.store(again, Relaxed);
        self.forgotten.store(forgotten, Relaxed);
    }

    fn report(&self, list: ThreadList, is_inconsistent: bool) -> Locked<'_, T> {
        let guard = self.guard(list);
        if is_inconsistent { Err(OwnerDied::new(guard)) } else { Ok(guard) }
    }

    #[inline]
    fn guard(&self, list: ThreadList) -> RLockGuard<'_, T> {
        RLockGuard { lock: self, tenure: Tenure::begin(list) }
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
    lock: &'a SharedRLock<T>,
    tenure: Tenure,
}

// SAFETY: `&RLockGuard` gives
// * `&T`, which may be shared;
// * `recursion_count` and `mark_consistent`, which look at or change what the lock has to say only on the thread that
//   the guard was given to.
unsafe impl<T: Plain + Sync> Sync for RLockGuard<'_, T> {}

impl<'a, T: Plain> RLockGuard<'a, T> {
    /// A guard of a part of the data.
    pub fn map<U: ?Sized>(guard: Self, part: impl FnOnce(&T) -> &U) -> MappedRLockGuard<'a, T, U> {
        let part = NonNull::from(part(&guard));
        MappedRLockGuard { part, guard }
    }

    /// Says that the data are in order again, after [`OwnerDied`]. Does nothing on other threads than the one that locked.
    pub fn mark_consistent(&self) {
        self.tenure.mark_consistent(&self.lock.raw);
    }

    /// How often the thread has locked it and not released: 1 if this is the only guard. 0 on other threads, and for the
    /// copy of a guard that a fork leaves in the child, which stands for nothing.
    pub fn recursion_count(&self) -> u32 {
        // Relaxed: only the calling thread changes it.
        if self.tenure.list().is_some() { self.lock.again.load(Relaxed).saturating_add(1) } else { 0 }
    }

    /// Keeps it locked until [`RLock::release`] is called, on the same thread.
    pub fn forget(self) {
        if self.tenure.list().is_some() {
            self.lock.forgotten.fetch_add(1, Relaxed);
        }
        mem::forget(self);
    }
}

impl<T: Plain> Deref for RLockGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.lock.data
    }
}

impl<T: Plain> Drop for RLockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(list) = self.tenure.list() {
            self.tenure.report_panic(&self.lock.raw);
            match self.lock.again.load(Relaxed) {
                0 => self.lock.raw.release_by(list),
                FULL => {}
                again => self.lock.again.store(again - 1, Relaxed),
            }
        }
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for RLockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Access to a part of the data of an [`RLock`], until it is dropped. See [`RLockGuard::map`].
#[must_use = "the lock is released when its guard is dropped"]
pub struct MappedRLockGuard<'a, T: Plain, U: ?Sized> {
    part: NonNull<U>,
    guard: RLockGuard<'a, T>,
}

// SAFETY: `&MappedRLockGuard` gives `&U`, which may be shared, and the `mark_consistent` of the guard inside.
unsafe impl<T: Plain, U: ?Sized + Sync> Sync for MappedRLockGuard<'_, T, U> {}

impl<'a, T: Plain, U: ?Sized> MappedRLockGuard<'a, T, U> {
    /// A guard of a smaller part.
    pub fn map<V: ?Sized>(mapped: Self, part: impl FnOnce(&U) -> &V) -> MappedRLockGuard<'a, T, V> {
        let part = NonNull::from(part(&mapped));
        MappedRLockGuard { part, guard: mapped.guard }
    }

    /// As [`RLockGuard::mark_consistent`].
    pub fn mark_consistent(&self) {
        self.guard.mark_consistent();
    }
}

impl<T: Plain, U: ?Sized> Deref for MappedRLockGuard<'_, T, U> {
    type Target = U;

    fn deref(&self) -> &U {
        // SAFETY: a part of the data that the guard inside gives access to, and that stay where they are.
        unsafe { self.part.as_ref() }
    }
}

impl<T: Plain, U: ?Sized + fmt::Debug> fmt::Debug for MappedRLockGuard<'_, T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Plain> sealed::Sealed for RLockGuard<'_, T> {}

impl<'d, T: Plain> Lend<'d> for RLockGuard<'_, T> {
    type Data = &'d T;
}

/// A lock that its holder gave up in order to wait, and the counts that go with it.
#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "nobody sees it")]
pub struct Unlocked<'a, T: Plain> {
    lock: &'a SharedRLock<T>,
    counts: Option<[u32; 2]>,
}

impl<'a, T: Plain> WaitGuard for RLockGuard<'a, T> {
    type Unlocked = Unlocked<'a, T>;

    fn data(&mut self) -> &T {
        self
    }

    fn unlock(self) -> Self::Unlocked {
        let lock = self.lock;
        let counts = self.tenure.list().map(|_| {
            let counts = [&lock.again, &lock.forgotten].map(|count| count.load(Relaxed));
            lock.set_counts([0, 0]);
            counts
        });
        // The last of as many.
        drop(self);
        Unlocked { lock, counts }
    }

    fn relock(unlocked: Self::Unlocked) -> Result<Self, OwnerDied<Self>> {
        let guard = unlocked.lock.lock();
        if let Some(counts) = unlocked.counts {
            unlocked.lock.set_counts(counts);
        }
        guard
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::thread;

    use super::*;

    #[test]
    fn a_full_count_keeps_the_lock_with_its_holder() {
        let _dog = test_support::watchdog(Duration::from_secs(60));
        let lock = RLock::new(7).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let first = lock.lock().unwrap();
                lock.0.again.store(FULL - 1, Relaxed);
                let guards = [lock.lock().unwrap(), lock.lock().unwrap()];
                assert_eq!(first.recursion_count(), FULL);
                drop((guards, first));
                assert_eq!(lock.0.again.load(Relaxed), FULL);
                assert!(lock.is_locked());
            });
        });
        // The holder is gone, and so is the count.
        let guard = lock.lock().unwrap_err().into_inner();
        assert_eq!((*guard, guard.recursion_count()), (7, 1));
    }
}
