//! [`InlineLock`]: the lock and its data, wherever they lie, and its guards.
//!
//! # Safety
//! The data are reached only through a guard, whose owner holds the raw lock; they are `Plain`, so whatever a killed
//! holder left there is a value. A lock stays where it is while it is held: the caller that locks it promises that.
#![allow(unsafe_code)]

use std::{
    cell::UnsafeCell,
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
    time::Duration,
};

use kernel::{futex::Deadline, shm::ShmSafe};

use crate::{
    OwnerDied, Plain,
    machine::Acquired,
    process::{
        condvar::{Lend, WaitGuard, sealed},
        holder::Holder,
        raw::RawLock,
        tenure::Tenure,
    },
    sys::robust::ThreadList,
};

/// A lock with its data, as a field of a shared struct of your own.
///
/// It takes no memory of its own; one descriptor serves all that the struct holds. A [`Lock`](crate::process::Lock) is one of these in memory
/// of its own, and what is said there holds here.
///
/// # Examples
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
/// use proc_core::shm::Shared;
/// use sync::{Plain, ShmSafe, process::InlineLock};
///
/// #[derive(Plain)]
/// struct Account {
///     owner: u32,
///     balance: i64,
/// }
///
/// #[derive(ShmSafe)]
/// #[repr(C)]
/// struct Bank {
///     n_transfers: AtomicU64,
///     accounts: [InlineLock<Account>; 2],
/// }
///
/// let account = |owner| InlineLock::new(Account { owner, balance: 100 });
/// let bank = Shared::new(Bank { n_transfers: AtomicU64::new(0), accounts: [account(7), account(8)] })?;
/// bank.accounts[0].with(|account| account.balance -= 30);
/// bank.accounts[1].with(|account| account.balance += 30);
/// bank.n_transfers.fetch_add(1, Relaxed);
/// assert_eq!(bank.accounts[1].with(|account| (account.owner, account.balance)), (8, 130));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[repr(C)]
pub struct InlineLock<T: Plain> {
    pub(super) raw: RawLock,
    data: UnsafeCell<T>,
}

// SAFETY: the data are accessed by the holder of the raw lock alone; they are `Plain`, hence `Send`.
unsafe impl<T: Plain> Sync for InlineLock<T> {}
// SAFETY: `repr(C)`; a lock and `Plain` data, both valid for any bits, without pointers and without `Drop`.
unsafe impl<T: Plain> ShmSafe for InlineLock<T> {
    fn is_pinned(&self) -> bool {
        self.raw.is_pinned()
    }

    fn note_other_namespaces(&self) {
        self.raw.note_other_namespaces();
    }
}

impl<T: Plain> InlineLock<T> {
    /// Makes a free lock around `value`.
    pub const fn new(value: T) -> Self {
        Self { raw: RawLock::new(), data: UnsafeCell::new(value) }
    }

    /// Locks, calls `work` with the data, and releases; sleeps for as long as another thread holds the lock.
    ///
    /// Ask [`Locked::is_consistent`] whether a former holder may have left the data half changed. (There is no guard
    /// that could be forgotten, since the lock might then be moved while the kernel knows its address.)
    ///
    /// # Panics
    /// If the calling thread holds the lock already, or 2000 others; and when `work` does.
    pub fn with<R>(&self, work: impl FnOnce(&mut Locked<'_, T>) -> R) -> R {
        // SAFETY: it is borrowed until the guard is dropped, which is not forgotten.
        let _guard = unsafe { self.lock() }.unwrap_or_else(OwnerDied::into_inner);
        work(&mut Locked { lock: self, not_send: PhantomData })
    }

    /// The holder of the lock, for a message to a person; may have changed by the time it returns.
    pub fn holder(&self) -> Option<Holder> {
        self.raw.holder()
    }

    /// As [`Lock::lock`](crate::process::Lock::lock).
    ///
    /// # Safety
    /// The lock must stay mapped, and where it is, until the guard is dropped; for good, if it is forgotten.
    #[inline]
    pub(in crate::process) unsafe fn lock(&self) -> Result<LockGuard<'_, T>, OwnerDied<LockGuard<'_, T>>> {
        // SAFETY: the caller's promise is the same.
        if let Some(list) = unsafe { self.raw.try_acquire_idle() } {
            return Ok(self.guard(list));
        }
        // SAFETY: as above.
        self.report(unsafe { self.raw.wait_surely() })
    }

    /// As [`Lock::try_lock`](crate::process::Lock::try_lock).
    ///
    /// # Safety
    /// As [`lock`](Self::lock).
    #[inline]
    pub(in crate::process) unsafe fn try_lock(&self) -> Result<Option<LockGuard<'_, T>>, OwnerDied<LockGuard<'_, T>>> {
        // SAFETY: the caller's promise is the same.
        let acquired = unsafe { self.raw.try_acquire() };
        acquired.map(|acquired| self.report(acquired)).transpose()
    }

    /// As [`Lock::lock_timeout`](crate::process::Lock::lock_timeout).
    ///
    /// # Safety
    /// As [`lock`](Self::lock).
    pub(in crate::process) unsafe fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<Option<LockGuard<'_, T>>, OwnerDied<LockGuard<'_, T>>> {
        // SAFETY: the caller's promise is the same.
        if let Some(list) = unsafe { self.raw.try_acquire_idle() } {
            return Ok(Some(self.guard(list)));
        }
        // SAFETY: as above.
        let acquired = unsafe { self.raw.acquire(Deadline::after(timeout)) };
        acquired.map(|acquired| self.report(acquired)).transpose()
    }

    #[inline]
    fn guard(&self, list: ThreadList) -> LockGuard<'_, T> {
        LockGuard { lock: self, tenure: Tenure::begin(list) }
    }

    fn report(&self, acquired: Acquired) -> Result<LockGuard<'_, T>, OwnerDied<LockGuard<'_, T>>> {
        let guard = self.guard(ThreadList::of_holder());
        match acquired {
            Acquired::Orderly => Ok(guard),
            Acquired::Inconsistent => Err(OwnerDied::new(guard)),
        }
    }
}

/// Access to the data of a [`Lock`](crate::process::Lock), until it is dropped.
///
/// It stays on the thread that locked, since it is that thread's death that the kernel reports.
#[must_use = "the lock is released when its guard is dropped"]
pub struct LockGuard<'a, T: Plain> {
    lock: &'a InlineLock<T>,
    tenure: Tenure,
}

// SAFETY: `&LockGuard` gives
// * `&T`, which may be shared;
// * `is_consistent`, which reads an atomic;
// * `mark_consistent`, which changes an atomic, and only on the thread that the guard was given to.
unsafe impl<T: Plain + Sync> Sync for LockGuard<'_, T> {}

impl<'a, T: Plain> LockGuard<'a, T> {
    /// Says that the data are in order again, after [`OwnerDied`]. Does nothing on other threads than the one that locked.
    pub fn mark_consistent(&self) {
        self.tenure.mark_consistent(&self.lock.raw);
    }

    /// Whether the data are in order, as far as is known: false from a holder's death to `mark_consistent`.
    pub fn is_consistent(&self) -> bool {
        !self.lock.raw.lock().is_inconsistent()
    }

    pub(super) fn place(&self) -> *mut T {
        self.lock.data.get()
    }
}

impl<T: Plain> Deref for LockGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this thread holds the lock; any bits are a `T`.
        unsafe { &*self.place() }
    }
}

impl<T: Plain> DerefMut for LockGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this thread holds the lock, and the guard is borrowed exclusively; any bits are a `T`.
        unsafe { &mut *self.place() }
    }
}

impl<T: Plain> Drop for LockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(list) = self.tenure.list() {
            self.tenure.report_panic(&self.lock.raw);
            self.lock.raw.release_by(list);
        }
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for LockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Plain> sealed::Sealed for LockGuard<'_, T> {}

impl<'d, T: Plain> Lend<'d> for LockGuard<'_, T> {
    type Data = &'d mut T;
}

impl<'a, T: Plain> WaitGuard for LockGuard<'a, T> {
    type Unlocked = Unlocked<'a, T>;

    fn data(&mut self) -> &mut T {
        self
    }

    fn unlock(self) -> Self::Unlocked {
        Unlocked(self.lock)
    }

    fn relock(unlocked: Self::Unlocked) -> Result<Self, OwnerDied<Self>> {
        // SAFETY: the caller that made the given-up guard has promised that the lock stays where it is as long as a guard.
        unsafe { unlocked.0.lock() }
    }
}

impl<T: Plain> fmt::Debug for InlineLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InlineLock").field("holder", &self.raw.lock().owner()).finish_non_exhaustive()
    }
}

/// Access to the data of an [`InlineLock`].
pub struct Locked<'a, T: Plain> {
    lock: &'a InlineLock<T>,
    not_send: PhantomData<*mut ()>,
}

impl<T: Plain> Locked<'_, T> {
    /// As [`LockGuard::is_consistent`].
    pub fn is_consistent(&self) -> bool {
        !self.lock.raw.lock().is_inconsistent()
    }

    /// As [`LockGuard::mark_consistent`].
    pub fn mark_consistent(&self) {
        self.lock.raw.lock().mark_consistent();
    }
}

impl<T: Plain> Deref for Locked<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this thread holds the lock for as long as this exists; any bits are a `T`.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: Plain> DerefMut for Locked<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above; it is the only one, and borrowed exclusively.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for Locked<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A lock that its holder gave up in order to wait.
#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "nobody sees it")]
pub struct Unlocked<'a, T: Plain>(&'a InlineLock<T>);
