//! Queues as iterators.

use serde::de::DeserializeOwned;

use super::Queue;
use crate::{GetError, TryGetError, iter::next};

/// The messages of a queue, each waited for, until the queue is closed and empty.
///
/// Ends at a message that is no `T`, too, and has its [`error`](Self::error) then.
#[derive(Debug)]
pub struct Iter<'a, T> {
    queue: &'a Queue<T>,
    /// Why it has ended.
    end: Option<GetError>,
}

impl<T> Iter<'_, T> {
    /// Why it has ended, unless that is because the queue is closed and empty. The message that was no `T` is gone; what came
    /// after it is still in the queue.
    ///
    /// # Examples
    /// ```
    /// # let queue = ipc::Queue::<u32>::new(0)?;
    /// # queue.put(1)?;
    /// # queue.close();
    /// let mut messages = queue.iter();
    /// assert_eq!(messages.by_ref().sum::<u32>(), 1);
    /// assert!(messages.error().is_none(), "the queue is closed, and all was got");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn error(&self) -> Option<&GetError> {
        unexpected(&self.end)
    }
}

impl<T: DeserializeOwned> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        next(&mut self.end, || self.queue.get())
    }
}

/// What an iterator over messages ended with, unless that is how it should end.
pub(super) fn unexpected(end: &Option<GetError>) -> Option<&GetError> {
    end.as_ref().filter(|end| !matches!(end, GetError::Closed))
}

/// The messages of a queue that it owns a handle of, as [`Iter`].
#[derive(Debug)]
pub struct IntoIter<T> {
    queue: Queue<T>,
    /// Why it has ended.
    end: Option<GetError>,
}

impl<T> IntoIter<T> {
    /// Why it has ended, unless that is because the queue is closed and empty: as [`Iter::error`].
    pub fn error(&self) -> Option<&GetError> {
        unexpected(&self.end)
    }
}

impl<T: DeserializeOwned> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        next(&mut self.end, || self.queue.get())
    }
}

/// What was in a queue; see [`Queue::drain`].
#[derive(Debug)]
pub struct Drain<'a, T> {
    queue: &'a Queue<T>,
    /// Why it has ended.
    end: Option<TryGetError>,
}

impl<T> Drain<'_, T> {
    /// Why it has ended, unless that is because the queue is empty: as [`Iter::error`].
    pub fn error(&self) -> Option<&TryGetError> {
        self.end.as_ref().filter(|end| !matches!(end, TryGetError::Closed | TryGetError::Empty))
    }
}

impl<T: DeserializeOwned> Iterator for Drain<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        next(&mut self.end, || self.queue.try_get())
    }
}

impl<T> Queue<T> {
    /// Takes message after message, waiting for each, until the queue is closed and empty.
    ///
    /// Ends at a message that is no `T`, too: [`Iter::error`] tells which end it was.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { queue: self, end: None }
    }

    /// Takes what is in the queue now, without waiting: ends when the queue is empty, or at a message that is no `T`.
    pub fn drain(&self) -> Drain<'_, T> {
        Drain { queue: self, end: None }
    }
}

impl<T: DeserializeOwned> IntoIterator for Queue<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    /// Takes message after message, as [`iter`](Self::iter): for a process whose argument is the queue, say, which hands
    /// the iterator on.
    fn into_iter(self) -> IntoIter<T> {
        IntoIter { queue: self, end: None }
    }
}

impl<'a, T: DeserializeOwned> IntoIterator for &'a Queue<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}
