//! A queue as two halves, of which each is closed by the last drop of the other.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Drain, Iter, Queue};
use crate::{GetError, GetTimeoutError, PutError, PutTimeoutError, TryGetError, TryPutError};

/// The half of a [`Queue`] that puts; see [`Queue::split`].
///
/// Clones are the same half. Once the last one is dropped, consumers get what is left, and then `Closed`.
pub struct Producer<T>(Arc<Half<T>>);

/// The half of a [`Queue`] that gets; see [`Queue::split`].
///
/// Clones are the same half. Once the last one is dropped, putting is an error.
pub struct Consumer<T>(Arc<Half<T>>);

/// Shared by the clones of one half. The other half then only sees a closed queue.
struct Half<T> {
    queue: Queue<T>,
}

impl<T> Drop for Half<T> {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl<T> Queue<T> {
    /// Makes two halves of the queue: one can only put, the other can only get. When all producers have been dropped, or
    /// all consumers, the queue is closed for the other half.
    ///
    /// Other handles of the same queue stay what they are, and count for neither.
    ///
    /// # Examples
    /// ```
    /// let (producer, consumer) = ipc::thread::Queue::new(10).split();
    /// std::thread::spawn(move || producer.put_many(0..100));
    /// assert_eq!(consumer.iter().sum::<u32>(), 4950, "the end comes without `close`");
    /// ```
    pub fn split(self) -> (Producer<T>, Consumer<T>) {
        (Producer(Arc::new(Half { queue: self.clone() })), Consumer(Arc::new(Half { queue: self })))
    }
}

impl<T> Producer<T> {
    /// As [`Queue::put`].
    ///
    /// # Errors
    /// `Closed` with the value, once all consumers are gone or the queue has been closed.
    pub fn put(&self, value: T) -> Result<(), PutError<T>> {
        self.0.queue.put(value)
    }

    /// As [`Queue::try_put`].
    ///
    /// # Errors
    /// `Full`; `Closed`, as [`put`](Self::put).
    #[doc(alias = "put_nowait")]
    pub fn try_put(&self, value: T) -> Result<(), TryPutError<T>> {
        self.0.queue.try_put(value)
    }

    /// As [`Queue::put_timeout`].
    ///
    /// # Errors
    /// `TimedOut`; `Closed`, as [`put`](Self::put).
    pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), PutTimeoutError<T>> {
        self.0.queue.put_timeout(value, timeout)
    }

    /// As [`Queue::put_deadline`].
    ///
    /// # Errors
    /// `TimedOut`; `Closed`, as [`put`](Self::put).
    pub fn put_deadline(&self, value: T, deadline: Instant) -> Result<(), PutTimeoutError<T>> {
        self.0.queue.put_deadline(value, deadline)
    }

    /// As [`Queue::put_many`].
    ///
    /// # Errors
    /// `Closed` with those that were not put.
    pub fn put_many(&self, values: impl IntoIterator<Item = T>) -> Result<(), PutError<Vec<T>>> {
        self.0.queue.put_many(values)
    }

    /// As [`Queue::put_async`].
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn put_async(&self, value: T) -> Result<(), PutError<T>> {
        self.0.queue.put_async(value).await
    }

    /// Whether `put` would wait.
    pub fn is_full(&self) -> bool {
        self.0.queue.is_full()
    }
}

impl<T> Consumer<T> {
    /// As [`Queue::get`].
    ///
    /// # Errors
    /// `Closed` once all producers are gone, or the queue has been closed, and everything in it has been taken.
    pub fn get(&self) -> Result<T, GetError> {
        self.0.queue.get()
    }

    /// As [`Queue::try_get`].
    ///
    /// # Errors
    /// `Empty`; `Closed`, as [`get`](Self::get).
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<T, TryGetError> {
        self.0.queue.try_get()
    }

    /// As [`Queue::get_timeout`].
    ///
    /// # Errors
    /// `TimedOut`; `Closed`, as [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetTimeoutError> {
        self.0.queue.get_timeout(timeout)
    }

    /// As [`Queue::get_deadline`].
    ///
    /// # Errors
    /// `TimedOut`; `Closed`, as [`get`](Self::get).
    pub fn get_deadline(&self, deadline: Instant) -> Result<T, GetTimeoutError> {
        self.0.queue.get_deadline(deadline)
    }

    /// As [`Queue::get_many`].
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_many(&self, max: usize) -> Result<Vec<T>, GetError> {
        self.0.queue.get_many(max)
    }

    /// As [`Queue::get_async`].
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_async(&self) -> Result<T, GetError> {
        self.0.queue.get_async().await
    }

    /// Takes values until all producers are gone, waiting for each.
    pub fn iter(&self) -> Iter<'_, T> {
        self.0.queue.iter()
    }

    /// Takes what is in the queue now, without waiting.
    pub fn drain(&self) -> Drain<'_, Queue<T>> {
        self.0.queue.drain()
    }

    /// How many values wait to be taken.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.0.queue.len()
    }

    /// Whether no value waits to be taken.
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        self.0.queue.is_empty()
    }
}

macro_rules! half {
    ($Half:ident) => {
        impl<T> Clone for $Half<T> {
            fn clone(&self) -> Self {
                Self(Arc::clone(&self.0))
            }
        }

        impl<T> fmt::Debug for $Half<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($Half)).field("queue", &self.0.queue).finish()
            }
        }
    };
}

half!(Producer);
half!(Consumer);

impl<'a, T> IntoIterator for &'a Consumer<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}
