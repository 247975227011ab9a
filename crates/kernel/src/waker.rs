//! Wakers, which are code of others: they may panic, and take locks.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::Waker,
};

/// Wakes a task. The panic hook reports a panic of its waker, which ends here: the calling thread works for others, too.
///
/// Not under a lock that a poll takes: some wakers poll their task at once.
pub fn wake(waker: Waker) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
        // It may panic again in its `Drop`.
        std::mem::forget(payload);
    }
}
