//! Reading and writing the elements of an array, under its lock.
//!
//! # Safety
//! As the [module](super)'s.
#![allow(unsafe_code)]

use std::{
    any::TypeId,
    ptr::{self, NonNull},
};

use sync::{Element, InvalidElement};

/// Where elements are. Used only by the holder of their lock, and only as [`Loans`] allow.
pub(super) struct Elements<T: Element> {
    pub(super) start: NonNull<T::Stored>,
    pub(super) len: usize,
}

impl<T: Element + Copy> Elements<T> {
    /// Whether the elements lie in the memory as they are.
    fn are_stored_as_they_are() -> bool {
        TypeId::of::<T>() == TypeId::of::<T::Stored>()
    }

    #[track_caller]
    fn place(&self, i: usize) -> NonNull<T::Stored> {
        assert!(i < self.len, "there are {} elements, and none at {i}", self.len);
        // SAFETY: inside the array.
        unsafe { self.start.add(i) }
    }

    #[track_caller]
    pub(super) fn read(&self, i: usize) -> Result<T, InvalidElement> {
        // SAFETY: inside the array, and may be copied.
        T::load(unsafe { self.place(i).read() })
    }

    #[track_caller]
    pub(super) fn write(&self, i: usize, value: T) {
        // SAFETY: inside the array, and there are no references to it.
        unsafe { self.place(i).write(value.store()) }
    }

    pub(super) fn read_all(&self) -> Result<Vec<T>, InvalidElement> {
        if !Self::are_stored_as_they_are() {
            return (0..self.len).map(|i| self.read(i)).collect();
        }
        let mut all = Vec::with_capacity(self.len);
        // SAFETY: as many of the same type, from shared memory to memory that no other thread knows yet.
        unsafe { ptr::copy_nonoverlapping(self.start.as_ptr().cast::<T>(), all.as_mut_ptr(), self.len) };
        // SAFETY: they were copied just now.
        unsafe { all.set_len(self.len) };
        Ok(all)
    }

    #[track_caller]
    pub(super) fn write_all(&self, elements: &[T]) {
        assert!(elements.len() == self.len, "there are {} elements, and not {}", self.len, elements.len());
        if Self::are_stored_as_they_are() {
            // SAFETY: as many of the same type; there are no references into the array, so `elements` is elsewhere.
            unsafe { ptr::copy_nonoverlapping(elements.as_ptr(), self.start.as_ptr().cast::<T>(), self.len) };
        } else {
            elements.iter().enumerate().for_each(|(i, element)| self.write(i, *element));
        }
    }
}
