//! A slice of an array, for as long as its lock is held.
//!
//! # Safety
//! As the [module](super)'s.
#![allow(unsafe_code)]

use std::{
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

use sync::{Element, Plain, process::RLockGuard};

use super::{
    super::{
        loans::{GuardLoan, Loans},
        value::sure,
    },
    elements::Elements,
};

/// An [`Array`](super::Array) whose lock this thread holds.
///
/// It is a slice of the elements, too, if these lie in the memory as they are (numbers, and what derives `Plain`), without
/// a copy: `guard[3] += 1.0`, `guard.sort()`. From when the guard was first used as a slice until it is dropped, the
/// elements are reached through this guard; this thread's other ways to read elements that were lent mutably, or to change
/// any that were lent, panic.
///
/// The slice is sound because other threads and processes wait for the lock. A process that writes to the array's memory
/// without it, past this type, breaks that, as it could break anything else in memory that it was given.
#[must_use = "the lock is released when its guard is dropped"]
pub struct ArrayGuard<'a, T: Element + Copy> {
    pub(super) elements: Elements<T>,
    pub(super) held: RLockGuard<'a, Loans>,
    pub(super) loan: GuardLoan,
    pub(super) array: PhantomData<&'a mut [T]>,
}

impl<T: Element + Copy> ArrayGuard<'_, T> {
    /// The element at `i` now.
    ///
    /// # Panics
    /// If there is none; if another guard has lent the elements mutably, or the memory holds no `T`.
    #[track_caller]
    pub fn get(&self, i: usize) -> T {
        self.loan.assert_readable(&self.held);
        sure(self.elements.read(i))
    }

    /// Changes the element at `i`.
    ///
    /// # Panics
    /// If there is none, or another guard of this thread has lent the elements.
    #[track_caller]
    pub fn set(&mut self, i: usize, value: T) {
        self.loan.assert_writable(&self.held);
        self.elements.write(i, value);
    }

    /// Says that the elements are in order again, after [`OwnerDied`](sync::OwnerDied).
    pub fn mark_consistent(&self) {
        self.held.mark_consistent();
    }
}

impl<T: Element<Stored = T> + Plain + Copy> Deref for ArrayGuard<'_, T> {
    type Target = [T];

    #[track_caller]
    fn deref(&self) -> &[T] {
        self.loan.share(&self.held);
        // SAFETY: the memory holds `len` elements, any bits are some, this thread holds their lock, no guard has lent them
        // mutably, and until the guard is dropped they change only through `&mut` of the guard.
        unsafe { NonNull::slice_from_raw_parts(self.elements.start, self.elements.len).as_ref() }
    }
}

impl<T: Element<Stored = T> + Plain + Copy> DerefMut for ArrayGuard<'_, T> {
    #[track_caller]
    fn deref_mut(&mut self) -> &mut [T] {
        self.loan.exclude(&self.held);
        // SAFETY: as above; and no other guard has lent them, and they are read only through the guard, which is borrowed
        // exclusively.
        unsafe { NonNull::slice_from_raw_parts(self.elements.start, self.elements.len).as_mut() }
    }
}

impl<T: Element + Copy> Drop for ArrayGuard<'_, T> {
    fn drop(&mut self) {
        self.loan.end(&self.held);
    }
}

impl<T: Element + Copy + fmt::Debug> fmt::Debug for ArrayGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries((0..self.elements.len).map(|i| self.get(i))).finish()
    }
}
