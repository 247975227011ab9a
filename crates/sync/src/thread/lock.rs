//! [`Lock`]: one thread at a time.

use std::time::{Duration, Instant};

/// A lock that threads share, with the data that it protects.
///
/// # Examples
/// ```
/// static COUNTER: sync::thread::Lock<u64> = sync::thread::Lock::new(0);
///
/// std::thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| *COUNTER.lock() += 1);
///     }
/// });
/// assert_eq!(*COUNTER.lock(), 4);
/// ```
#[doc(alias = "Mutex")]
#[derive(Debug, Default)]
pub struct Lock<T: ?Sized>(lock_api::Mutex<RawLock, T>);

/// The lock under a [`Lock`], without data, for `lock_api`.
pub type RawLock = parking_lot::RawMutex;

/// Access to the data of a [`Lock`], until it is dropped.
pub type LockGuard<'a, T> = lock_api::MutexGuard<'a, RawLock, T>;

/// Access to a part of the data of a [`Lock`], until it is dropped. See [`LockGuard::map`].
pub type MappedLockGuard<'a, U> = lock_api::MappedMutexGuard<'a, RawLock, U>;

impl<T> Lock<T> {
    /// Makes a free lock around `value`.
    pub const fn new(value: T) -> Self {
        Self(parking_lot::const_mutex(value))
    }

    /// The data.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

impl<T: ?Sized> Lock<T> {
    /// Locks; sleeps for as long as another thread holds the lock. Waits for ever if the calling one does.
    #[doc(alias = "acquire")]
    #[inline]
    pub fn lock(&self) -> LockGuard<'_, T> {
        self.0.lock()
    }

    /// Locks if that is possible at once.
    #[inline]
    pub fn try_lock(&self) -> Option<LockGuard<'_, T>> {
        self.0.try_lock()
    }

    /// Locks if that is possible within `timeout`.
    pub fn lock_timeout(&self, timeout: Duration) -> Option<LockGuard<'_, T>> {
        self.0.try_lock_for(timeout)
    }

    /// Locks if that is possible before `deadline`.
    pub fn lock_deadline(&self, deadline: Instant) -> Option<LockGuard<'_, T>> {
        self.0.try_lock_until(deadline)
    }

    /// Whether any thread holds the lock; may have changed by the time it returns.
    pub fn is_locked(&self) -> bool {
        self.0.is_locked()
    }

    /// The data, without locking: no other thread can have the lock.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

impl<T> From<T> for Lock<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}
