//! A queue between threads, first in, first out.

use std::{
    fmt,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError};
use crossbeam_utils::sync::ShardedLock;
use parking_lot::Mutex;

use super::{many::put_all, wakers::Wakers};
use crate::{GetError, GetTimeoutError, PutError, PutTimeoutError, TryGetError, TryPutError, time::remaining};

/// A first-in, first-out queue between threads: many producers, many consumers.
///
/// Clones are the same queue. See the [module](super) for an example.
#[doc(alias = "SimpleQueue")]
pub struct Queue<T>(Arc<Inner<T>>);

struct Inner<T> {
    /// `None` once closed. `put` works under the read lock, so that whatever was put before [`Queue::close`] returned
    /// is there to get, and nothing comes after.
    sender: ShardedLock<Option<Sender<T>>>,
    receiver: Receiver<T>,
    maxsize: usize,
    /// Dropped by `close`, which wakes the `put`s that are waiting for room with a sender of their own.
    closer: Mutex<Option<Sender<()>>>,
    closing: Receiver<()>,
    takers: Wakers,
    putters: Wakers,
}

impl<T> Queue<T> {
    /// Makes a queue for at most `maxsize` values; 0 is without limit.
    pub fn new(maxsize: usize) -> Self {
        let (sender, receiver) =
            if maxsize == 0 { crossbeam_channel::unbounded() } else { crossbeam_channel::bounded(maxsize) };
        let (closer, closing) = crossbeam_channel::bounded(0);
        Self(Arc::new(Inner {
            sender: ShardedLock::new(Some(sender)),
            receiver,
            maxsize,
            closer: Mutex::new(Some(closer)),
            closing,
            takers: Wakers::default(),
            putters: Wakers::default(),
        }))
    }

    /// Puts a value, waiting while the queue is full.
    ///
    /// # Errors
    /// `Closed` with the value, also if the queue is closed during the wait.
    pub fn put(&self, value: T) -> Result<(), PutError<T>> {
        match self.try_put(value) {
            Ok(()) => Ok(()),
            Err(TryPutError::Full(value)) => {
                let Some(sender) = self.sender() else { return Err(PutError::Closed(value)) };
                crossbeam_channel::select! {
                    recv(self.0.closing) -> _ => Err(PutError::Closed(value)),
                    send(sender, value) -> sent => self.has_put(sent).map_err(|e| PutError::Closed(e.0)),
                }
            }
            Err(e) => Err(PutError::Closed(e.into_inner())),
        }
    }

    /// Puts a value if there is room now.
    ///
    /// # Errors
    /// `Full` or `Closed` with the value.
    #[doc(alias = "put_nowait")]
    pub fn try_put(&self, value: T) -> Result<(), TryPutError<T>> {
        let sender = self.0.sender.read().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = &*sender else { return Err(TryPutError::Closed(value)) };
        let sent = open.try_send(value);
        // Before any waiter is woken: what a waker does, or what is dropped with it, may close the queue.
        drop(sender);
        self.has_put(sent).map_err(|e| match e {
            TrySendError::Full(value) => TryPutError::Full(value),
            TrySendError::Disconnected(value) => TryPutError::Closed(value),
        })
    }

    /// Puts a value, waiting at most `timeout` for room.
    ///
    /// # Errors
    /// `TimedOut` or `Closed` with the value.
    pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), PutTimeoutError<T>> {
        match self.try_put(value) {
            Ok(()) => Ok(()),
            Err(TryPutError::Full(value)) => {
                let Some(sender) = self.sender() else { return Err(PutTimeoutError::Closed(value)) };
                crossbeam_channel::select! {
                    recv(self.0.closing) -> _ => Err(PutTimeoutError::Closed(value)),
                    send(sender, value) -> sent => self.has_put(sent).map_err(|e| PutTimeoutError::Closed(e.0)),
                    default(timeout) => Err(PutTimeoutError::TimedOut(value)),
                }
            }
            Err(e) => Err(PutTimeoutError::Closed(e.into_inner())),
        }
    }

    /// Puts a value, waiting for room until `deadline`.
    ///
    /// # Errors
    /// As [`put_timeout`](Self::put_timeout).
    pub fn put_deadline(&self, value: T, deadline: Instant) -> Result<(), PutTimeoutError<T>> {
        self.put_timeout(value, remaining(deadline))
    }

    /// Puts a value; a future, for any runtime or none. Dropped before its end, it has put nothing.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn put_async(&self, value: T) -> Result<(), PutError<T>> {
        self.0.putters.put_when_woken(value, |value| self.try_put(value)).await
    }

    /// Puts all values, waiting whenever the queue is full.
    ///
    /// # Errors
    /// `Closed` with those that were not put.
    pub fn put_many(&self, values: impl IntoIterator<Item = T>) -> Result<(), PutError<Vec<T>>> {
        put_all(values, |value| self.put(value))
    }

    /// Takes the oldest value, waiting while there is none.
    ///
    /// # Errors
    /// `Closed` once the queue is closed and everything in it has been taken.
    pub fn get(&self) -> Result<T, GetError> {
        self.has_got(self.0.receiver.recv()).map_err(|_| GetError::Closed)
    }

    /// Takes the oldest value if there is one now.
    ///
    /// # Errors
    /// `Empty`; `Closed` once the queue is closed and everything in it has been taken.
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<T, TryGetError> {
        self.has_got(self.0.receiver.try_recv()).map_err(|e| match e {
            TryRecvError::Empty => TryGetError::Empty,
            TryRecvError::Disconnected => TryGetError::Closed,
        })
    }

    /// Takes the oldest value, waiting at most `timeout` for one.
    ///
    /// # Errors
    /// `TimedOut`; `Closed` once the queue is closed and everything in it has been taken.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetTimeoutError> {
        self.has_got(self.0.receiver.recv_timeout(timeout)).map_err(|e| match e {
            RecvTimeoutError::Timeout => GetTimeoutError::TimedOut,
            RecvTimeoutError::Disconnected => GetTimeoutError::Closed,
        })
    }

    /// Takes the next value, waiting for one until `deadline`.
    ///
    /// # Errors
    /// As [`get_timeout`](Self::get_timeout).
    pub fn get_deadline(&self, deadline: Instant) -> Result<T, GetTimeoutError> {
        self.get_timeout(remaining(deadline))
    }

    /// Takes the next value; a future, for any runtime or none. Dropped before its end, it has taken nothing.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_async(&self) -> Result<T, GetError> {
        self.0.takers.get_when_woken(|| self.try_get()).await
    }

    /// Takes up to `max` values at once, waiting while there is none.
    ///
    /// # Errors
    /// `Closed` once the queue is closed and everything in it has been taken.
    pub fn get_many(&self, max: usize) -> Result<Vec<T>, GetError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let first = self.get()?;
        let values = std::iter::once(first).chain(self.0.receiver.try_iter().take(max - 1)).collect();
        self.0.putters.wake_all();
        Ok(values)
    }

    /// How many values wait to be taken.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.0.receiver.len()
    }

    /// Whether no value waits to be taken.
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        self.0.receiver.is_empty()
    }

    /// Whether `put` would wait.
    #[doc(alias = "full")]
    pub fn is_full(&self) -> bool {
        self.0.receiver.is_full()
    }

    /// How many values the queue holds at most; 0 is without limit.
    pub fn maxsize(&self) -> usize {
        self.0.maxsize
    }

    /// Lets no more values in. What is in the queue can still be taken; then `get` reports `Closed`.
    pub fn close(&self) {
        self.0.sender.write().unwrap_or_else(PoisonError::into_inner).take();
        self.0.closer.lock().take();
        self.0.takers.wake_all();
        self.0.putters.wake_all();
    }

    /// Lets no more values in, as [`close`](Self::close) does. If `immediate`, what is in the queue is dropped.
    ///
    /// # References
    /// Python's [`queue.Queue.shutdown`](https://docs.python.org/3/library/queue.html#queue.Queue.shutdown).
    pub fn shutdown(&self, immediate: bool) {
        self.close();
        while immediate && self.try_get().is_ok() {}
    }

    /// Whether [`close`](Self::close) has been called.
    pub fn is_closed(&self) -> bool {
        self.0.sender.read().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Whether two handles are the same queue.
    pub fn ptr_eq(a: &Self, b: &Self) -> bool {
        Arc::ptr_eq(&a.0, &b.0)
    }

    /// Takes values until the queue is closed and empty, waiting for each.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { queue: self }
    }

    pub(super) fn takers(&self) -> &Wakers {
        &self.0.takers
    }

    pub(super) fn putters(&self) -> &Wakers {
        &self.0.putters
    }

    #[inline]
    fn has_put<E>(&self, result: Result<(), E>) -> Result<(), E> {
        result.inspect(|()| self.0.takers.wake_all())
    }

    #[inline]
    fn has_got<E>(&self, result: Result<T, E>) -> Result<T, E> {
        result.inspect(|_| self.0.putters.wake_all())
    }

    /// A sender for a thread that waits, which must not hold the lock meanwhile.
    fn sender(&self) -> Option<Sender<T>> {
        self.0.sender.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("len", &self.len()).field("maxsize", &self.maxsize()).finish_non_exhaustive()
    }
}

/// Takes values from a [`Queue`]; ends when it is closed and empty.
#[derive(Debug)]
pub struct Iter<'a, T> {
    queue: &'a Queue<T>,
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.queue.get().ok()
    }
}

impl<'a, T> IntoIterator for &'a Queue<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}
