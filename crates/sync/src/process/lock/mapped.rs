//! A guard of a part of the data.
//!
//! # Safety
//! A part stays where it is, and is reached in no other way, for as long as the guard of the whole lives, which is inside.
#![allow(unsafe_code)]

use std::{
    fmt,
    ops::{Deref, DerefMut},
};

use super::inline::LockGuard;
use crate::Plain;

impl<'a, T: Plain> LockGuard<'a, T> {
    /// A guard of a part of the data.
    pub fn map<U: ?Sized>(guard: Self, part: impl FnOnce(&mut T) -> &mut U) -> MappedLockGuard<'a, T, U> {
        // SAFETY: exclusive for as long as the guard lives, which moves into the mapped one.
        let part = part(unsafe { &mut *guard.place() });
        MappedLockGuard { part, guard }
    }
}

/// Access to a part of the data of a [`Lock`](crate::process::Lock), until it is dropped. See [`LockGuard::map`].
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
