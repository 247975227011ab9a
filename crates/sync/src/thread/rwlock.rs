//! [`RwLock`]: many readers, or one writer.

use std::time::{Duration, Instant};

/// A lock that lets in many readers or one writer.
///
/// # Examples
/// ```
/// let route = sync::thread::RwLock::new([0u32; 3]);
/// route.write()[1] = 7;
/// let (one, other) = (route.read(), route.read());
/// assert_eq!(one[1], other[1]);
/// ```
#[derive(Debug, Default)]
pub struct RwLock<T: ?Sized>(lock_api::RwLock<RawRwLock, T>);

/// The lock under an [`RwLock`], without data, for `lock_api`.
pub type RawRwLock = parking_lot::RawRwLock;

/// Shared access to the data of an [`RwLock`], until it is dropped.
pub type RwLockReadGuard<'a, T> = lock_api::RwLockReadGuard<'a, RawRwLock, T>;

/// Exclusive access to the data of an [`RwLock`], until it is dropped.
pub type RwLockWriteGuard<'a, T> = lock_api::RwLockWriteGuard<'a, RawRwLock, T>;

/// Shared access to a part of the data of an [`RwLock`], until it is dropped. See [`RwLockReadGuard::map`].
pub type MappedRwLockReadGuard<'a, U> = lock_api::MappedRwLockReadGuard<'a, RawRwLock, U>;

/// Exclusive access to a part of the data of an [`RwLock`], until it is dropped. See [`RwLockWriteGuard::map`].
pub type MappedRwLockWriteGuard<'a, U> = lock_api::MappedRwLockWriteGuard<'a, RawRwLock, U>;

/// A reader of an [`RwLock`] that can become the writer, until it is dropped. See [`RwLock::upgradable_read`].
pub type RwLockUpgradableReadGuard<'a, T> = lock_api::RwLockUpgradableReadGuard<'a, RawRwLock, T>;

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T> RwLock<T> {
    /// Makes a free lock around `value`.
    pub const fn new(value: T) -> Self {
        Self(parking_lot::const_rwlock(value))
    }

    /// The data.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Lets a reader in; sleeps for as long as a writer is in or waits. A thread that reads already and reads again may
    /// therefore wait for itself.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read()
    }

    /// Lets a reader in if that is possible at once.
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        self.0.try_read()
    }

    /// Lets a reader in if that is possible within `timeout`.
    pub fn read_timeout(&self, timeout: Duration) -> Option<RwLockReadGuard<'_, T>> {
        self.0.try_read_for(timeout)
    }

    /// Lets a reader in if that is possible before `deadline`.
    pub fn read_deadline(&self, deadline: Instant) -> Option<RwLockReadGuard<'_, T>> {
        self.0.try_read_until(deadline)
    }

    /// As [`read`](Self::read), but a thread that reads already is let in at once, whether or not a writer waits.
    pub fn read_recursive(&self) -> RwLockReadGuard<'_, T> {
        self.0.read_recursive()
    }

    /// Lets a reader in that can become the writer without letting another one in between
    /// (`RwLockUpgradableReadGuard::upgrade`); sleeps for as long as a writer, or another such reader, is in.
    ///
    /// Processes have no such readers: a killed one would have to leave a trace that others find.
    pub fn upgradable_read(&self) -> RwLockUpgradableReadGuard<'_, T> {
        self.0.upgradable_read()
    }

    /// Lets a writer in; sleeps for as long as readers or another writer are in.
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write()
    }

    /// Lets a writer in if that is possible at once.
    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        self.0.try_write()
    }

    /// Lets a writer in if that is possible within `timeout`.
    pub fn write_timeout(&self, timeout: Duration) -> Option<RwLockWriteGuard<'_, T>> {
        self.0.try_write_for(timeout)
    }

    /// Lets a writer in if that is possible before `deadline`.
    pub fn write_deadline(&self, deadline: Instant) -> Option<RwLockWriteGuard<'_, T>> {
        self.0.try_write_until(deadline)
    }

    /// Whether a reader or a writer is in; may have changed by the time it returns.
    pub fn is_locked(&self) -> bool {
        self.0.is_locked()
    }

    /// The data, without locking: no other thread can have the lock.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}
