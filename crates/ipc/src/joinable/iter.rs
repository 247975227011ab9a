//! The queue as an iterator.

use serde::de::DeserializeOwned;

use super::{Item, JoinableQueue};
use crate::queue::{GetStop, Patience};

/// Borrows item after item; ends when the queue is closed and empty. Passes over items that are no `T`:
/// they are in [`undecodable_letters`](JoinableQueue::undecodable_letters).
#[derive(Debug)]
pub struct Iter<'a, T> {
    queue: &'a JoinableQueue<T>,
}

/// Borrows the items of a queue that it owns a handle of, as [`Iter`].
#[derive(Debug)]
pub struct IntoIter<T> {
    queue: JoinableQueue<T>,
}

/// Borrows what is in a queue now, without waiting; see [`JoinableQueue::drain`].
#[derive(Debug)]
pub struct Drain<'a, T> {
    queue: &'a JoinableQueue<T>,
}

impl<T: DeserializeOwned> JoinableQueue<T> {
    fn next_item(&self, patience: Patience) -> Option<Item<T>> {
        loop {
            match self.lend(patience) {
                Ok(item) => return Some(item),
                Err(GetStop::Decode(_)) => {}
                Err(_) => return None,
            }
        }
    }
}

impl<T: DeserializeOwned> Iterator for Iter<'_, T> {
    type Item = Item<T>;

    fn next(&mut self) -> Option<Item<T>> {
        self.queue.next_item(Patience::Forever)
    }
}

impl<T: DeserializeOwned> Iterator for IntoIter<T> {
    type Item = Item<T>;

    fn next(&mut self) -> Option<Item<T>> {
        self.queue.next_item(Patience::Forever)
    }
}

impl<T: DeserializeOwned> Iterator for Drain<'_, T> {
    type Item = Item<T>;

    fn next(&mut self) -> Option<Item<T>> {
        self.queue.next_item(Patience::Now)
    }
}

impl<T> JoinableQueue<T> {
    /// Borrows item after item, waiting for each, until the queue is closed and empty.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { queue: self }
    }

    /// Borrows what is in the queue now, without waiting: ends when the queue is empty. Passes over items that are no `T`.
    pub fn drain(&self) -> Drain<'_, T> {
        Drain { queue: self }
    }
}

impl<T: DeserializeOwned> IntoIterator for JoinableQueue<T> {
    type Item = Item<T>;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter { queue: self }
    }
}

impl<'a, T: DeserializeOwned> IntoIterator for &'a JoinableQueue<T> {
    type Item = Item<T>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}
