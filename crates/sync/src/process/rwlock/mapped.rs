//! Guards of a part of the data.
//!
//! # Safety
//! A part stays where it is, and may be reached, for as long as the guard of the whole lives, which is inside.
#![allow(unsafe_code)]

use std::{
    fmt,
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

use super::{RwLockReadGuard, RwLockWriteGuard};
use crate::Plain;

impl<'a, T: Plain> RwLockReadGuard<'a, T> {
    /// A guard of a part of the data.
    pub fn map<U: ?Sized>(guard: Self, part: impl FnOnce(&T) -> &U) -> MappedRwLockReadGuard<'a, T, U> {
        let part = NonNull::from(part(&guard));
        MappedRwLockReadGuard { part, guard }
    }
}

impl<'a, T: Plain> RwLockWriteGuard<'a, T> {
    /// A guard of a part of the data.
    pub fn map<U: ?Sized>(mut guard: Self, part: impl FnOnce(&mut T) -> &mut U) -> MappedRwLockWriteGuard<'a, T, U> {
        let part = NonNull::from(part(&mut guard));
        MappedRwLockWriteGuard { part, guard }
    }
}

/// Shared access to a part of the data of an [`RwLock`](super::RwLock), until it is dropped. See [`RwLockReadGuard::map`].
#[must_use = "the lock is released when its guard is dropped"]
pub struct MappedRwLockReadGuard<'a, T: Plain, U: ?Sized> {
    part: NonNull<U>,
    guard: RwLockReadGuard<'a, T>,
}

// SAFETY: `&MappedRwLockReadGuard` gives `&U`, which may be shared.
unsafe impl<T: Plain, U: ?Sized + Sync> Sync for MappedRwLockReadGuard<'_, T, U> {}

impl<'a, T: Plain, U: ?Sized> MappedRwLockReadGuard<'a, T, U> {
    /// A guard of a smaller part.
    pub fn map<V: ?Sized>(mapped: Self, part: impl FnOnce(&U) -> &V) -> MappedRwLockReadGuard<'a, T, V> {
        let part = NonNull::from(part(&mapped));
        MappedRwLockReadGuard { part, guard: mapped.guard }
    }
}

impl<T: Plain, U: ?Sized> Deref for MappedRwLockReadGuard<'_, T, U> {
    type Target = U;

    fn deref(&self) -> &U {
        // SAFETY: a part of the data that the guard inside gives access to, and that stay where they are.
        unsafe { self.part.as_ref() }
    }
}

impl<T: Plain, U: ?Sized + fmt::Debug> fmt::Debug for MappedRwLockReadGuard<'_, T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Exclusive access to a part of the data of an [`RwLock`](super::RwLock), until it is dropped. See [`RwLockWriteGuard::map`].
#[must_use = "the lock is released when its guard is dropped"]
pub struct MappedRwLockWriteGuard<'a, T: Plain, U: ?Sized> {
    part: NonNull<U>,
    guard: RwLockWriteGuard<'a, T>,
}

// SAFETY: `&MappedRwLockWriteGuard` gives `&U`, which may be shared, and the `mark_consistent` of the guard inside.
unsafe impl<T: Plain, U: ?Sized + Sync> Sync for MappedRwLockWriteGuard<'_, T, U> {}

impl<'a, T: Plain, U: ?Sized> MappedRwLockWriteGuard<'a, T, U> {
    /// A guard of a smaller part.
    pub fn map<V: ?Sized>(mut mapped: Self, part: impl FnOnce(&mut U) -> &mut V) -> MappedRwLockWriteGuard<'a, T, V> {
        let part = NonNull::from(part(&mut mapped));
        MappedRwLockWriteGuard { part, guard: mapped.guard }
    }

    /// As [`RwLockWriteGuard::mark_consistent`].
    pub fn mark_consistent(&self) {
        self.guard.mark_consistent();
    }
}

impl<T: Plain, U: ?Sized> Deref for MappedRwLockWriteGuard<'_, T, U> {
    type Target = U;

    fn deref(&self) -> &U {
        // SAFETY: a part of the data that the guard inside gives access to, and that stay where they are.
        unsafe { self.part.as_ref() }
    }
}

impl<T: Plain, U: ?Sized> DerefMut for MappedRwLockWriteGuard<'_, T, U> {
    fn deref_mut(&mut self) -> &mut U {
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { self.part.as_mut() }
    }
}

impl<T: Plain, U: ?Sized + fmt::Debug> fmt::Debug for MappedRwLockWriteGuard<'_, T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
