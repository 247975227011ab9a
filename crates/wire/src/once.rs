//! A value that is made once, without a lock.
//!
//! A process may fork while another thread is about to make it; its child would wait for that thread for ever.
//!
//! # Safety
//! The pointer is null or that of a box that was leaked.
#![allow(unsafe_code)]

use std::{
    ptr::null_mut,
    sync::atomic::{
        AtomicPtr,
        Ordering::{AcqRel, Acquire},
    },
};

/// A value that is made when it is first asked for, and then stays.
pub(crate) struct Once<T: 'static>(AtomicPtr<T>);

impl<T: Send + Sync> Once<T> {
    pub(crate) const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    /// The value; two threads may both make one, and one is dropped.
    #[inline]
    pub(crate) fn get(&self, make: impl FnOnce() -> T) -> &'static T {
        // Acquire: with what was written to it.
        let made = self.0.load(Acquire);
        // SAFETY: it is null or leaked, and is only ever read.
        match unsafe { made.as_ref() } {
            Some(value) => value,
            None => self.make(make),
        }
    }

    #[cold]
    fn make(&self, make: impl FnOnce() -> T) -> &'static T {
        let new = Box::into_raw(Box::new(make()));
        match self.0.compare_exchange(null_mut(), new, AcqRel, Acquire) {
            // SAFETY: it is leaked from now on.
            Ok(_) => unsafe { &*new },
            Err(first) => {
                // SAFETY: it comes from a box, and nobody else has seen it.
                drop(unsafe { Box::from_raw(new) });
                // SAFETY: it was leaked by who was first.
                unsafe { &*first }
            }
        }
    }
}
