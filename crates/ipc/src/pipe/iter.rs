//! What an end receives, as iterators.

use serde::de::DeserializeOwned;

use super::{Connection, Receiver, RecvError};
use crate::iter::next;

/// The values that an end receives, each waited for, until the other end is gone; see [`Receiver::iter`].
///
/// Ends at any other error, too, and has it as its [`error`](Self::error) then.
#[derive(Debug)]
pub struct RecvIter<'a, T> {
    receiver: &'a Receiver<T>,
    /// Why it has ended.
    end: Option<RecvError>,
}

/// The values that an end receives which it owns, as [`RecvIter`].
#[derive(Debug)]
pub struct RecvIntoIter<T> {
    receiver: Receiver<T>,
    /// Why it has ended.
    end: Option<RecvError>,
}

impl<T> Receiver<T> {
    /// Receives values until the other end is gone, waiting for each. Ends at the first error: [`RecvIter::error`].
    pub fn iter(&self) -> RecvIter<'_, T> {
        RecvIter { receiver: self, end: None }
    }
}

impl<T> Connection<T> {
    /// Receives values until the other end is gone, waiting for each. Ends at the first error: [`RecvIter::error`].
    pub fn iter(&self) -> RecvIter<'_, T> {
        self.receiver.iter()
    }
}

impl<T> RecvIter<'_, T> {
    /// Why it has ended, unless that is because the other end is gone and all was received.
    pub fn error(&self) -> Option<&RecvError> {
        unexpected(&self.end)
    }
}

impl<T> RecvIntoIter<T> {
    /// Why it has ended, unless that is because the other end is gone and all was received.
    pub fn error(&self) -> Option<&RecvError> {
        unexpected(&self.end)
    }
}

fn unexpected(end: &Option<RecvError>) -> Option<&RecvError> {
    end.as_ref().filter(|end| !matches!(end, RecvError::Closed))
}

impl<T: DeserializeOwned> Iterator for RecvIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        next(&mut self.end, || self.receiver.recv())
    }
}

impl<T: DeserializeOwned> Iterator for RecvIntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        next(&mut self.end, || self.receiver.recv())
    }
}

impl<'a, T: DeserializeOwned> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = RecvIter<'a, T>;

    fn into_iter(self) -> RecvIter<'a, T> {
        self.iter()
    }
}

impl<T: DeserializeOwned> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = RecvIntoIter<T>;

    fn into_iter(self) -> RecvIntoIter<T> {
        RecvIntoIter { receiver: self, end: None }
    }
}

impl<'a, T: DeserializeOwned> IntoIterator for &'a Connection<T> {
    type Item = T;
    type IntoIter = RecvIter<'a, T>;

    fn into_iter(self) -> RecvIter<'a, T> {
        self.iter()
    }
}
