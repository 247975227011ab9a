//! [`Lock`]: one process at a time.
//!
//! # Safety
//! The data are reached only through a guard, whose owner holds the raw lock; they are `Plain`, so whatever a killed
//! holder left there is a value.
//!
//! A lock stays where it is while it is held, which those promise who acquire an [`InlineLock`]: a guard of a [`Lock`]
//! borrows the handle that keeps it mapped, and if it is forgotten, the memory stays mapped for good, since
//! [`ShmSafe::is_pinned`] says so.
#![allow(unsafe_code)]

use std::{
    cell::UnsafeCell,
    fmt, io,
    marker::PhantomData,
    ops::{Deref, DerefMut},
    time::{Duration, Instant},
};

use kernel::{futex::Deadline, shm::ShmSafe};
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::{
    condvar::{Lend, WaitGuard, sealed},
    handle::Handle,
    holder::Holder,
    raw::RawLock,
    tenure::Tenure,
};
use crate::{OwnerDied, Plain, machine::Acquired, sys::robust::ThreadList, time::remaining};

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
/// A process that overwrites the lock's memory can make it look held. After waiting one second, a waiter checks whether
/// the thread that the lock names has that memory at all, and takes it for a dead holder if not. A thread that has the
/// memory is waited for, as it might as well hold the lock; so is one that cannot be asked about, as in a chroot or under
/// hidepid.
///
/// # Pid namespaces
/// The kernel tells holders by their thread ids, which two threads of different pid namespaces may share. A lock can be
/// used in several namespaces: nobody takes itself for the holder because of its id, and holders that are out of sight
/// are waited for. But each operation is slower in a process that was forked into another namespace than its parent's;
/// nobody sees through overwritten memory; [`holder`](Self::holder) is unknown; and one case is left. If a waiter is
/// killed while a thread with its own id holds the lock, which it acquired after the waiter fell asleep and less than a
/// second ago, then the kernel takes the waiter for the holder, and the next one to lock is let in and told `OwnerDied`.
///
/// # Forks
/// A child that is forked while its parent holds the lock holds nothing, whatever the start method: the parent is the
/// holder, and the child waits for it like anybody else. A fork also leaves the child a copy of the guard, which
/// changes nothing: dropping it releases nothing, also when the child has acquired the lock itself meanwhile, and
/// [`mark_consistent`](LockGuard::mark_consistent) does nothing. But it still leads to the data, which the parent may
/// be changing: a child leaves it alone and locks through its handle. All locks of this scope behave so.
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
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(bound = "", transparent))]
pub struct Lock<T: Plain>(Handle<InlineLock<T>>);

/// A lock with its data, as a field of a shared struct of your own.
///
/// It takes no memory of its own; one descriptor serves all that the struct holds. A [`Lock`] is one of these in memory
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
    raw: RawLock,
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

    /// Who holds the lock, for a message to a person; may have changed by the time it returns.
    pub fn holder(&self) -> Option<Holder> {
        self.raw.holder()
    }

    /// As [`Lock::lock`].
    ///
    /// # Safety
    /// The lock must stay mapped, and where it is, until the guard is dropped; for good, if it is forgotten.
    #[inline]
    pub(super) unsafe fn lock(&self) -> Result<LockGuard<'_, T>, OwnerDied<LockGuard<'_, T>>> {
        // SAFETY: the caller's promise is the same.
        if let Some(list) = unsafe { self.raw.try_acquire_idle() } {
            return Ok(self.guard(list));
        }
        // SAFETY: as above.
        self.report(unsafe { self.raw.wait_surely() })
    }

    /// As [`Lock::try_lock`].
    ///
    /// # Safety
    /// As [`lock`](Self::lock).
    #[inline]
    pub(super) unsafe fn try_lock(&self) -> Result<Option<LockGuard<'_, T>>, OwnerDied<LockGuard<'_, T>>> {
        // SAFETY: the caller's promise is the same.
        let acquired = unsafe { self.raw.try_acquire() };
        acquired.map(|acquired| self.report(acquired)).transpose()
    }

    /// As [`Lock::lock_timeout`].
    ///
    /// # Safety
    /// As [`lock`](Self::lock).
    pub(super) unsafe fn lock_timeout(
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

impl<T: Plain> Lock<T> {
    /// Makes a free lock around `value`.
    ///
    /// # Errors
    /// As [`SharedMemory::new`](kernel::shm::SharedMemory::new).
    pub fn new(value: T) -> io::Result<Self> {
        Ok(Self(Handle::new(InlineLock::new(value))?))
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
        // SAFETY: the handle keeps it where it is (see the module).
        unsafe { self.0.lock() }
    }

    /// Locks if that is possible at once; `None` otherwise, also when the calling thread is the holder.
    ///
    /// # Errors
    /// [`OwnerDied`], as [`lock`](Self::lock).
    #[inline]
    pub fn try_lock(&self) -> Result<Option<LockGuard<'_, T>>, OwnerDied<LockGuard<'_, T>>> {
        // SAFETY: the handle keeps it where it is (see the module).
        unsafe { self.0.try_lock() }
    }

    /// Locks if that is possible within `timeout`, on the monotonic clock; `None` otherwise.
    ///
    /// # Errors
    /// [`OwnerDied`], as [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<LockGuard<'_, T>>, OwnerDied<LockGuard<'_, T>>> {
        // SAFETY: the handle keeps it where it is (see the module).
        unsafe { self.0.lock_timeout(timeout) }
    }

    /// As [`lock_timeout`](Self::lock_timeout), until `deadline`.
    ///
    /// # Errors
    /// [`OwnerDied`], as [`lock`](Self::lock).
    pub fn lock_deadline(&self, deadline: Instant) -> Result<Option<LockGuard<'_, T>>, OwnerDied<LockGuard<'_, T>>> {
        self.lock_timeout(remaining(deadline))
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
        let copy = |guard: LockGuard<'_, T>| unsafe { guard.place().read() };
        match self.lock() {
            Ok(guard) => Ok(copy(guard)),
            Err(died) => Err(died.map(copy)),
        }
    }

    /// Sleeps until nobody holds the lock, without acquiring it; false once the deadline has passed.
    pub(super) fn wait_while_held(&self, deadline: Deadline) -> bool {
        self.0.raw.wait_while_held(Some(deadline))
    }

    /// Whether anybody holds the lock; may have changed by the time it returns.
    pub fn is_locked(&self) -> bool {
        self.0.raw.lock().owner() != 0
    }

    /// Who holds the lock, for a message to a person; may have changed by the time it returns.
    pub fn holder(&self) -> Option<Holder> {
        self.0.raw.holder()
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

    /// A guard of a part of the data.
    pub fn map<U: ?Sized>(guard: Self, part: impl FnOnce(&mut T) -> &mut U) -> MappedLockGuard<'a, T, U> {
        // SAFETY: exclusive for as long as the guard lives, which moves into the mapped one.
        let part = part(unsafe { &mut *guard.place() });
        MappedLockGuard { part, guard }
    }

    fn place(&self) -> *mut T {
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
        // SAFETY: who made the guard that was given up has promised that it stays where it is for as long as a guard.
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

/// Access to a part of the data of a [`Lock`], until it is dropped. See [`LockGuard::map`].
#[must_use = "the lock is released when its guard is dropped"]
pub struct MappedLockGuard<'a, T: Plain, U: ?Sized> {
    part: *mut U,
    guard: LockGuard<'a, T>,
}

// SAFETY: `&MappedLockGuard` gives `&U`, which may be shared, and the `mark_consistent` of the guard inside.
unsafe impl<T: Plain, U: ?Sized + Sync> Sync for MappedLockGuard<'_, T, U> {}

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
