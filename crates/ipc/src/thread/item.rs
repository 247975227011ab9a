//! Items on loan between threads.

use std::{fmt, ops::Deref, sync::Arc};

use super::{lending::Lending, shelf::ShelfEntry};

/// An item of a [`JoinableQueue`](super::JoinableQueue), lent until [`task_done`](Self::task_done).
///
/// Dropping it instead gives it back to the queue.
#[must_use = "an item that is dropped goes back to the queue"]
pub struct Item<T> {
    /// Present until `task_done`.
    entry: Option<ShelfEntry<T>>,
    queue: Arc<Lending<T>>,
}

impl<T> Item<T> {
    pub(super) fn new(mut entry: ShelfEntry<T>, queue: Arc<Lending<T>>) -> Self {
        entry.deliveries = entry.deliveries.saturating_add(1);
        Self { entry: Some(entry), queue }
    }

    fn entry(&self) -> &ShelfEntry<T> {
        self.entry.as_ref().expect("taken out only by methods that consume the item")
    }

    /// Reports the item as dealt with, and lets go of it.
    pub fn task_done(self) {
        self.into_inner();
    }

    /// Reports the item as dealt with, and keeps its value.
    pub fn into_inner(mut self) -> T {
        let entry = self.entry.take().expect("taken out only by methods that consume the item");
        self.queue.finish(1);
        entry.value
    }

    /// Whether another taker had it before and dropped it without `task_done`.
    pub fn redelivered(&self) -> bool {
        self.deliveries() > 1
    }

    /// How many times it has been delivered, this time included.
    pub fn deliveries(&self) -> u8 {
        self.entry().deliveries
    }
}

impl<T> Deref for Item<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.entry().value
    }
}

impl<T: fmt::Debug> fmt::Debug for Item<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T> Drop for Item<T> {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            self.queue.take_back(entry);
        }
    }
}
