//! [`Lock`]: one process at a time.
//!
//! # Safety
//! The data are reached only through a guard, whose owner holds the raw lock; they are `Plain`, so whatever a killed
//! holder left there is a value.
#![allow(unsafe_code)]

use std::{
    cell::UnsafeCell,
    fmt, io,
    marker::PhantomData,
    ops::{Deref, DerefMut},
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
use crate::{OwnerDied, Plain, machine::Acquired};

/// A lock that processes share, with the data that it protects.
///
/// Clones and handed-over copies are the same lock. It takes one descriptor and one page.
///
/// # Crash safety
/// If the holder is killed, or its thread ends, at whatever instruction, the next one to lock gets
/// [`OwnerDied`] with the guard, at once; a waiter is woken for that. The same if the holder panics. The data are as
/// the holder left them. Until somebody puts them in order and calls [`mark_consistent`](LockGuard::mark_consistent),
/// everyone who locks is told. A process that dies while it waits for the lock disturbs nobody.
///
/// The kernel tells holders by their thread ids: the processes that share a lock must be of one pid namespace.
///
/// # Forks
/// A child that is forked while a thread of its parent holds the lock holds nothing: its copy of the guard protects
/// nothing, and dropping that does nothing. Through its copy of the handle it can lock, once the parent has released.
///
/// # Examples
/// ```
/// use sync::process::Lock;
///
/// let counter = Lock::new(0u64)?;
/// *counter.lock()? += 1;
/// assert_eq!(*counter.lock()?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A holder that did not live to finish:
/// ```
/// # use sync::process::Lock;
/// let pair = Lock::new((0u32, 0u32))?;
/// let other = pair.clone();
/// let _ = std::thread::spawn(move || {
///     let mut both = other.lock().unwrap();
///     both.0 = 1;
///     panic!("before both.1 was set");
/// })
/// .join();
/// let Err(e) = pair.lock() else { panic!("one is told") };
/// let mut both = e.into_inner();
/// both.1 = both.0;
/// both.mark_consistent();
/// drop(both);
/// assert_eq!(*pair.lock()?, (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "Mutex")]
#[derive(Serialize, Deserialize)]
#[serde(bound = "", transparent)]
pub struct Lock<T: Plain>(Handle<Shared<T>>);

#[repr(C)]
struct Shared<T> {
    raw: RawLock,
    data: UnsafeCell<T>,
}

// SAFETY: the data are accessed by the holder of the raw lock alone; they are `Plain`, hence `Send`.
unsafe impl<T: Plain> Sync for Shared<T> {}
// SAFETY: `repr(C)`; a lock and `Plain` data, both valid for any bits, without pointers and without `Drop`.
unsafe impl<T: Plain> ShmSafe for Shared<T> {
    fn is_pinned(&self) -> bool {
        self.raw.is_pinned()
    }
}

impl<T: Plain> Shared<T> {
    #[inline]
    fn lock(&self) -> Result<LockGuard<'_, T>, OwnerDied<LockGuard<'_, T>>> {
        self.guard(self.raw.acquire_surely())
    }

    #[inline]
    fn guard(&self, acquired: Acquired) -> Result<LockGuard<'_, T>, OwnerDied<LockGuard<'_, T>>> {
        let guard = LockGuard { lock: self, panicking: thread::panicking(), not_send: PhantomData };
        match acquired {
            Acquired::Orderly => Ok(guard),
            Acquired::Inconsistent => Err(OwnerDied::new(guard)),
        }
    }
}

impl<T: Plain> Lock<T> {
    /// Makes a free lock around `value`.
    ///
    /// # Errors
    /// As [`SharedMemory::new`](proc_core::shm::SharedMemory::new).
    pub fn new(value: T) -> io::Result<Self> {
        Ok(Self(Handle::new(Shared { raw: RawLock::new(), data: UnsafeCell::new(value) })?))
    }

    /// Locks; sleeps for as long as another thread, of this process or another, holds the lock.
    ///
    /// # Errors
    /// [`OwnerDied`], which holds the guard, if the data may be half changed.
    ///
    /// # Panics
    /// If the calling thread holds the lock already, or 2000 others.
    #[doc(alias = "acquire")]
    #[inline]
    pub fn lock(&self) -> Result<LockGuard<'_, T>, OwnerDied<LockGuard<'_, T>>> {
        self.0.lock()
    }

    /// Locks if that is possible at once; `None` otherwise, also when the calling thread is the holder.
    ///
    /// # Errors
    /// [`OwnerDied`], as [`lock`](Self::lock).
    #[inline]
    pub fn try_lock(&self) -> Result<Option<LockGuard<'_, T>>, OwnerDied<LockGuard<'_, T>>> {
        self.0.raw.try_acquire().map(|acquired| self.0.guard(acquired)).transpose()
    }

    /// Locks if that is possible within `timeout`, on the monotonic clock; `None` otherwise.
    ///
    /// # Errors
    /// [`OwnerDied`], as [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<LockGuard<'_, T>>, OwnerDied<LockGuard<'_, T>>> {
        let acquired = self.0.raw.try_acquire().or_else(|| self.0.raw.acquire(Deadline::after(timeout)));
        acquired.map(|acquired| self.0.guard(acquired)).transpose()
    }

    /// Locks for good and returns a copy of the data; other handles can go on using the lock.
    ///
    /// # Errors
    /// [`OwnerDied`] with the data, if they may be half changed.
    ///
    /// # Panics
    /// As [`lock`](Self::lock).
    pub fn into_inner(self) -> Result<T, OwnerDied<T>> {
        // SAFETY: the guard gives exclusive access, and `Plain` data may be copied bit by bit.
        let copy = |guard: LockGuard<'_, T>| unsafe { guard.data().read() };
        match self.lock() {
            Ok(guard) => Ok(copy(guard)),
            Err(died) => Err(died.map(copy)),
        }
    }

    /// Whether anybody holds the lock; may have changed by the time it returns.
    pub fn is_locked(&self) -> bool {
        self.0.raw.lock().owner() != 0
    }

    /// Who holds the lock, for a message to a person; may have changed by the time it returns.
    pub fn holder(&self) -> Option<Holder> {
        Holder::of_thread(self.0.raw.lock().owner())
    }
}

impl<T: Plain> Clone for Lock<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Plain> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("holder", &self.0.raw.lock().owner()).finish_non_exhaustive()
    }
}

/// Access to the data of a [`Lock`], until it is dropped.
///
/// It stays on the thread that locked, since it is that thread's death that the kernel reports.
#[must_use = "the lock is released when its guard is dropped"]
pub struct LockGuard<'a, T: Plain> {
    lock: &'a Shared<T>,
    panicking: bool,
    not_send: PhantomData<*mut ()>,
}

// SAFETY: `&LockGuard` gives `&T` and nothing else.
unsafe impl<T: Plain + Sync> Sync for LockGuard<'_, T> {}

impl<'a, T: Plain> LockGuard<'a, T> {
    /// Says that the data are in order again, after [`OwnerDied`].
    pub fn mark_consistent(&self) {
        self.lock.raw.lock().mark_consistent();
    }

    /// Whether the data are in order, as far as is known: false from a holder's death to `mark_consistent`.
    pub fn is_consistent(&self) -> bool {
        !self.lock.raw.lock().is_inconsistent()
    }

    /// A guard of a part of the data.
    pub fn map<U: ?Sized>(guard: Self, part: impl FnOnce(&mut T) -> &mut U) -> MappedLockGuard<'a, T, U> {
        // SAFETY: exclusive for as long as the guard lives, which moves into the mapped one.
        let part = part(unsafe { &mut *guard.data() });
        MappedLockGuard { part, guard }
    }

    fn data(&self) -> *mut T {
        self.lock.data.get()
    }
}

impl<T: Plain> Deref for LockGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this thread holds the lock; any bits are a `T`.
        unsafe { &*self.data() }
    }
}

impl<T: Plain> DerefMut for LockGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this thread holds the lock, and the guard is borrowed exclusively; any bits are a `T`.
        unsafe { &mut *self.data() }
    }
}

impl<T: Plain> Drop for LockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if !self.panicking && thread::panicking() && self.lock.raw.is_mine() {
            self.lock.raw.lock().mark_inconsistent();
        }
        self.lock.raw.release();
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for LockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Plain> sealed::Sealed for LockGuard<'_, T> {}

impl<'a, T: Plain> WaitGuard for LockGuard<'a, T> {
    type Unlocked = Unlocked<'a, T>;

    fn unlock(self) -> Self::Unlocked {
        Unlocked(self.lock)
    }

    fn relock(unlocked: Self::Unlocked) -> Result<Self, OwnerDied<Self>> {
        unlocked.0.lock()
    }
}

/// A lock that its holder gave up in order to wait.
#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "nobody sees it")]
pub struct Unlocked<'a, T>(&'a Shared<T>);

/// Access to a part of the data of a [`Lock`], until it is dropped. See [`LockGuard::map`].
#[must_use = "the lock is released when its guard is dropped"]
pub struct MappedLockGuard<'a, T: Plain, U: ?Sized> {
    part: *mut U,
    guard: LockGuard<'a, T>,
}

impl<'a, T: Plain, U: ?Sized> MappedLockGuard<'a, T, U> {
    /// A guard of a smaller part.
    pub fn map<V: ?Sized>(mapped: Self, part: impl FnOnce(&mut U) -> &mut V) -> MappedLockGuard<'a, T, V> {
        // SAFETY: a part of the data that the guard inside gives exclusive access to.
        let part = part(unsafe { &mut *mapped.part });
        MappedLockGuard { part, guard: mapped.guard }
    }

    /// As [`LockGuard::mark_consistent`].
    pub fn mark_consistent(&self) {
        self.guard.mark_consistent();
    }
}

impl<T: Plain, U: ?Sized> Deref for MappedLockGuard<'_, T, U> {
    type Target = U;

    fn deref(&self) -> &U {
        // SAFETY: a part of the data that the guard inside gives access to.
        unsafe { &*self.part }
    }
}

impl<T: Plain, U: ?Sized> DerefMut for MappedLockGuard<'_, T, U> {
    fn deref_mut(&mut self) -> &mut U {
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { &mut *self.part }
    }
}

impl<T: Plain, U: ?Sized + fmt::Debug> fmt::Debug for MappedLockGuard<'_, T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
