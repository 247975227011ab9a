//! Items on loan.

use std::{fmt, ops::Deref};

use crate::queue::Lease;

/// An item of a [`JoinableQueue`](super::JoinableQueue), lent until [`task_done`](Self::task_done).
///
/// Dropped without it, because of a panic or a `?`, the item goes back to the queue and is delivered again, marked as
/// [`redelivered`](Self::redelivered).
#[must_use = "an item that is dropped goes back to the queue"]
pub struct Item<T> {
    value: T,
    lease: Lease,
}

impl<T> Item<T> {
    pub(super) fn new(value: T, lease: Lease) -> Self {
        Self { value, lease }
    }

    /// Reports the item as dealt with, and lets go of it.
    ///
    /// # Crash safety
    /// Once it has returned, the item is never delivered again; before, it is if this process dies.
    pub fn task_done(self) {
        self.lease.done();
    }

    /// Reports the item as dealt with, and keeps its value.
    pub fn into_inner(self) -> T {
        self.lease.done();
        self.value
    }

    /// Whether another taker had it before and died or dropped it without `task_done`.
    pub fn redelivered(&self) -> bool {
        self.deliveries() > 1
    }

    /// How many times it has been delivered, this time included.
    pub fn deliveries(&self) -> u8 {
        self.lease.deliveries()
    }
}

impl<T> Deref for Item<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Item<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}
