//! The queue as an iterator.

use serde::de::DeserializeOwned;

use super::{Item, JoinableQueue};
use crate::GetError;

/// Borrows item after item; ends when the queue is closed and empty. Passes over items that are no `T`:
/// they are in [`undecodable_letters`](JoinableQueue::undecodable_letters).
#[derive(Debug)]
pub struct Iter<'a, T> {
    queue: &'a JoinableQueue<T>,
}

impl<T: DeserializeOwned> Iterator for Iter<'_, T> {
    type Item = Item<T>;

    fn next(&mut self) -> Option<Item<T>> {
        loop {
            match self.queue.get() {
                Ok(item) => return Some(item),
                Err(GetError::Decode(_)) => {}
                Err(_) => return None,
            }
        }
    }
}

impl<T> JoinableQueue<T> {
    /// Borrows item after item, waiting for each, until the queue is closed and empty.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { queue: self }
    }
}

impl<'a, T: DeserializeOwned> IntoIterator for &'a JoinableQueue<T> {
    type Item = Item<T>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}
