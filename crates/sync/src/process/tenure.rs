//! [`Tenure`]: what the guards of all locks of this scope have in common.

use std::{marker::PhantomData, thread};

use super::raw::RawLock;
use crate::sys::robust::ThreadList;

/// The thread that a guard was given to and stays on, and whether that was panicking then.
///
/// A fork copies guards, but not what they stand for: in a child they change nothing, whatever the child has acquired
/// by itself meanwhile.
///
/// One word, so that guards are handed from function to function in registers.
pub(super) struct Tenure {
    /// The thread's id ([`ThreadList::id`]), the flag, and the seat.
    word: u64,
    not_send: PhantomData<*mut ()>,
}

const PANICKING: u64 = 1 << 32;
const SEAT: u32 = 33;

impl Tenure {
    /// For the thread that has just acquired a lock.
    #[inline]
    pub(super) fn begin(list: ThreadList) -> Self {
        let panicking = if thread::panicking() { PANICKING } else { 0 };
        Self { word: u64::from(list.id()) | panicking, not_send: PhantomData }
    }

    /// As [`begin`](Self::begin), on one of several seats.
    #[inline]
    pub(super) fn at(list: ThreadList, seat: usize) -> Self {
        Self { word: u64::from(list.id()) | (seat as u64) << SEAT, not_send: PhantomData }
    }

    #[inline]
    pub(super) fn seat(&self) -> usize {
        (self.word >> SEAT) as usize
    }

    /// The list of the calling thread, if the guard is that thread's and no copy.
    #[inline]
    pub(super) fn list(&self) -> Option<ThreadList> {
        ThreadList::found().filter(|list| list.id() == self.word as u32)
    }

    /// Tells the next holder of `raw` if a panic has begun meanwhile.
    #[inline]
    pub(super) fn report_panic(&self, raw: &RawLock) {
        if thread::panicking() && self.word & PANICKING == 0 {
            raw.lock().mark_inconsistent();
        }
    }

    /// Says that what `raw` protects is in order again.
    pub(super) fn mark_consistent(&self, raw: &RawLock) {
        if self.list().is_some() {
            raw.lock().mark_consistent();
        }
    }
}
