//! Finding the calling thread's list, once for each thread and each forked child.
//!
//! # Safety
//! The list is the thread's own; nothing is written before all of it is where the [module](super) takes it to be.
#![allow(unsafe_code)]

use std::{
    cell::Cell,
    mem::offset_of,
    ptr,
    sync::{Once, atomic::Ordering::Relaxed},
};

use kernel::{at_fork, identity::PidNamespace};

use super::node::{FUTEX_OFFSET, Thread, prev_of};
use crate::sys::held;

/// The kernel gives no greater thread ids.
const TID_BITS: u32 = 22;
/// No thread's id has this bit, but the guards' of a process that is abroad.
const ABROAD: u32 = 1 << 31;

thread_local! {
    pub(super) static THREAD: Cell<Option<&'static Thread>> = const { Cell::new(None) };
    /// The same, unless the process is abroad.
    pub(super) static AT_HOME: Cell<Option<&'static Thread>> = const { Cell::new(None) };
    /// [`ThreadList::id`](super::ThreadList::id).
    pub(super) static ID: Cell<u32> = const { Cell::new(0) };
}

/// Asks the kernel for the calling thread's list, and checks that all is where this module takes it to be.
#[cold]
pub(super) fn find() -> Option<&'static Thread> {
    let (mut head, mut len) = (0usize, 0usize);
    // SAFETY: 0 means the calling thread; both places are writable.
    let rc = unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut len) };
    let expected_len = size_of::<Thread>() - offset_of!(Thread, first);
    if rc != 0 || head == 0 || len != expected_len {
        return None;
    }
    let thread: *const Thread = ptr::with_exposed_provenance(head - offset_of!(Thread, first));
    // SAFETY: the C library keeps the head inside its own description of the thread, well behind its beginning.
    let thread = unsafe { &*thread };
    let first = thread.first.load(Relaxed);
    let is_as_expected = thread.futex_offset == FUTEX_OFFSET
        && thread.tid.load(Relaxed) == ask_for_tid()
        // SAFETY: the list is this thread's, and read before anything is written.
        && unsafe { prev_of(first) }.load(Relaxed) == head;
    if !is_as_expected {
        return None;
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| at_fork::on_child(forget_in_child));
    let tid = thread.tid.load(Relaxed);
    if PidNamespace::may_have_changed() {
        // A fork from there may lead into yet another namespace.
        ID.set(tid | at_fork::generation() << TID_BITS | ABROAD);
    } else {
        AT_HOME.set(Some(thread));
        ID.set(tid);
    }
    THREAD.set(Some(thread));
    THREAD.get()
}

/// Forgets, in a forked child, what the thread was at: it is its parent's. And where: the child may be abroad.
fn forget_in_child() {
    held::clear();
    AT_HOME.set(None);
    if let Some(thread) = THREAD.take() {
        thread.pending.store(0, Relaxed);
    }
}

#[cold]
pub(super) fn ask_for_tid() -> u32 {
    // SAFETY: takes nothing.
    unsafe { libc::gettid() }.cast_unsigned()
}
