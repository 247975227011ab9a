//! [`Tenure`]: what the guards of all locks of this scope have in common.

use std::thread;

use super::raw::RawLock;
use crate::sys::robust::ThreadList;

/// The thread that a guard was given to and stays on, and whether that was panicking then.
///
/// A fork copies guards, but not what they stand for: in a child they change nothing, whatever the child has acquired
/// by itself meanwhile.
pub(super) struct Tenure {
    list: ThreadList,
    tid: u32,
    panicking: bool,
}

impl Tenure {
    /// For the thread that has just acquired a lock.
    #[inline]
    pub(super) fn begin(list: ThreadList) -> Self {
        Self { list, tid: list.tid(), panicking: thread::panicking() }
    }

    /// Whether the guard is that of the calling thread and no copy.
    #[inline]
    pub(super) fn is_mine(&self) -> bool {
        self.tid == self.list.tid()
    }

    /// Tells the next holder of `raw` if a panic has begun meanwhile.
    #[inline]
    pub(super) fn report_panic(&self, raw: &RawLock) {
        if !self.panicking && thread::panicking() {
            raw.lock().mark_inconsistent();
        }
    }

    /// Gives up `raw`.
    #[inline]
    pub(super) fn release(&self, raw: &RawLock) {
        raw.release_by(self.list);
    }

    /// Says that what `raw` protects is in order again.
    pub(super) fn mark_consistent(&self, raw: &RawLock) {
        if self.is_mine() {
            raw.lock().mark_consistent();
        }
    }
}
