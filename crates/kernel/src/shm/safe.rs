//! Which types may lie in memory that processes share.
//!
//! # Safety
//! The types are atomics and arrays of what may lie there.
#![allow(unsafe_code)]

use std::sync::atomic::{
    AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize,
};

/// A type that may live in memory which other processes read and write at any time.
///
/// # Safety
/// The type must be `#[repr(C)]` (or a primitive), valid for **any** bit pattern and for zeros in particular, hold no
/// pointers, references or handles of one process, need no `Drop`, and change behind a shared reference only through
/// atomics.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot lie in memory that several processes use at the same time",
    label = "not safe in shared memory",
    note = "atomics, arrays of them, and `sync::process::InlineLock` around plain data are; `#[derive(ShmSafe)]` is for `#[repr(C)]` structs of them",
    note = "a bare number may be written by one process while another one reads it: take an atomic, or put it under a lock"
)]
pub unsafe trait ShmSafe: Sync + 'static {
    /// Whether this process must not unmap it now: the kernel has its address, as it has a held lock's. Asked when a
    /// [`Shared`](super::Shared) is dropped; structs pass the question on to their fields.
    fn is_pinned(&self) -> bool {
        false
    }

    /// Takes note that the value is used in several pid namespaces, in which the ids of processes and threads mean
    /// different ones. Called when it comes from another namespace, or may; structs pass it on to their fields.
    fn note_other_namespaces(&self) {}
}

macro_rules! shm_safe_atomics {
    ($($t:ty),*) => {
        $(
            // SAFETY: an atomic integer of fixed layout, without invalid values.
            unsafe impl ShmSafe for $t {}
        )*
    };
}
shm_safe_atomics!(
    AtomicU8,
    AtomicU16,
    AtomicU32,
    AtomicU64,
    AtomicUsize,
    AtomicI8,
    AtomicI16,
    AtomicI32,
    AtomicI64,
    AtomicIsize
);

// SAFETY: arrays lay out their elements one after another.
unsafe impl<T: ShmSafe, const N: usize> ShmSafe for [T; N] {
    fn is_pinned(&self) -> bool {
        self.iter().any(T::is_pinned)
    }

    fn note_other_namespaces(&self) {
        self.iter().for_each(T::note_other_namespaces);
    }
}
