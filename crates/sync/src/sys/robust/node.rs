//! The words of a list as they lie in memory, and the way from one to the next.
//!
//! # Safety
//! Links lead from node to node of one thread's list, as the [module](super) says.
#![allow(unsafe_code)]

use std::{
    ffi::c_long,
    mem::offset_of,
    ptr,
    sync::atomic::{AtomicU32, AtomicUsize},
};

use crate::machine;

/// `struct robust_list_head` of `<linux/futex.h>`, preceded by what the GNU C library keeps there.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Thread {
    /// Kept right by the kernel and the library in every thread and every child.
    pub(super) tid: AtomicU32,
    unused: AtomicU32,
    last: Link,
    pub(super) first: Link,
    pub(super) futex_offset: c_long,
    pub(super) pending: Link,
}

/// The address of the `next` of a node, or of the `first` of the list's head, in the memory of the process that the
/// list belongs to; bit 0 is the library's own flag. The word before it is the node's `prev`, or the head's `last`.
pub(super) type Link = AtomicUsize;

/// A lock's word and its place in a list: laid out as in `pthread_mutex_t`.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Node {
    pub(crate) lock: machine::LockState,
    unused: AtomicUsize,
    pub(super) prev: Link,
    pub(super) next: Link,
}

pub(super) const FUTEX_OFFSET: c_long = -(offset_of!(Node, next) as c_long);
const _: () = assert!(offset_of!(Node, next) == offset_of!(Node, prev) + size_of::<Link>());
const _: () = assert!(offset_of!(Thread, first) == offset_of!(Thread, last) + size_of::<Link>());

impl Node {
    pub(crate) const fn new() -> Self {
        Self {
            lock: machine::LockState::new(),
            unused: AtomicUsize::new(0),
            prev: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
        }
    }

    /// What its neighbours in a list know it by.
    #[inline]
    pub(super) fn link(&self) -> usize {
        ptr::from_ref(&self.next).expose_provenance()
    }
}

/// What the list would say of a node whose futex word is at `word`.
#[inline]
pub(super) fn link_to<T>(word: &T) -> usize {
    ptr::from_ref(word).addr().wrapping_add_signed(-(FUTEX_OFFSET as isize))
}

/// # Safety
/// `link` is the head or a node of the calling thread's list.
#[inline]
pub(super) unsafe fn next_of<'a>(link: usize) -> &'a Link {
    // SAFETY: the caller's promise; every node and every head was exposed when it was linked or found.
    unsafe { &*ptr::with_exposed_provenance(link & !1) }
}

/// # Safety
/// As [`next_of`].
#[inline]
pub(super) unsafe fn prev_of<'a>(link: usize) -> &'a Link {
    // SAFETY: the caller's promise; the `prev` stands right before the `next`.
    unsafe { &*ptr::with_exposed_provenance((link & !1) - size_of::<Link>()) }
}
