//! Queues as iterators.

use serde::de::DeserializeOwned;

use super::Queue;
use crate::{GetError, TryGetError};

/// The messages of a queue, each waited for, until the queue is closed and empty.
///
/// Passes over messages that are no `T`.
#[derive(Debug)]
pub struct Iter<'a, T> {
    queue: &'a Queue<T>,
    over: bool,
}

impl<T: DeserializeOwned> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        while !self.over {
            match self.queue.get() {
                Ok(message) => return Some(message),
                Err(GetError::Decode(_)) => {}
                Err(_) => self.over = true,
            }
        }
        None
    }
}

/// What was in a queue; see [`Queue::drain`].
#[derive(Debug)]
pub struct Drain<'a, T> {
    queue: &'a Queue<T>,
}

impl<T: DeserializeOwned> Iterator for Drain<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        loop {
            match self.queue.try_get() {
                Ok(message) => return Some(message),
                Err(TryGetError::Decode(_)) => {}
                Err(_) => return None,
            }
        }
    }
}

impl<T> Queue<T> {
    /// Takes message after message, waiting for each, until the queue is closed and empty.
    ///
    /// Passes over messages that are no `T`; use [`get`](Queue::get) to see them.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { queue: self, over: false }
    }

    /// Takes what is in the queue now, without waiting: ends when the queue is empty.
    pub fn drain(&self) -> Drain<'_, T> {
        Drain { queue: self }
    }
}

impl<'a, T: DeserializeOwned> IntoIterator for &'a Queue<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}
