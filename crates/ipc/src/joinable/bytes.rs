//! Items that are bytes already.

use std::time::{Duration, Instant};

use super::{Item, JoinableQueue};
use crate::{
    GetError, GetTimeoutError, PutError, PutTimeoutError, TryGetError, TryPutError,
    queue::{GetStop, Patience},
};

impl<T> JoinableQueue<T> {
    /// Puts an item that is bytes already, as they are; waits for room while the queue is full.
    ///
    /// They are for [`get_bytes`](Self::get_bytes): a `get` would take them for a serialised `T`.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    ///
    /// # Examples
    /// ```
    /// let queue = ipc::JoinableQueue::<()>::new(10)?;
    /// queue.put_bytes(b"raw")?;
    /// let item = queue.get_bytes()?;
    /// assert_eq!(*item, b"raw");
    /// item.task_done();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn put_bytes(&self, item: &[u8]) -> Result<(), PutError<()>> {
        self.raw.put_bytes(item, Patience::Forever).map_err(|stop| stop.into_put_error(()))
    }

    /// Puts an item that is bytes already if there is room right now; see [`put_bytes`](Self::put_bytes).
    ///
    /// # Errors
    /// As [`try_put`](Self::try_put).
    pub fn try_put_bytes(&self, item: &[u8]) -> Result<(), TryPutError<()>> {
        self.raw.put_bytes(item, Patience::Now).map_err(|stop| stop.into_try_put_error(()))
    }

    /// Puts an item that is bytes already; waits for room, but no longer than `timeout`. See [`put_bytes`](Self::put_bytes).
    ///
    /// # Errors
    /// As [`put_timeout`](Self::put_timeout).
    pub fn put_bytes_timeout(&self, item: &[u8], timeout: Duration) -> Result<(), PutTimeoutError<()>> {
        self.raw.put_bytes(item, Patience::For(timeout)).map_err(|stop| stop.into_put_timeout_error(()))
    }

    /// Puts an item that is bytes already; waits for room, but no longer than until `deadline`. See
    /// [`put_bytes`](Self::put_bytes).
    ///
    /// # Errors
    /// As [`put_timeout`](Self::put_timeout).
    pub fn put_bytes_deadline(&self, item: &[u8], deadline: Instant) -> Result<(), PutTimeoutError<()>> {
        self.raw.put_bytes(item, Patience::until(deadline)).map_err(|stop| stop.into_put_timeout_error(()))
    }

    /// Borrows the next item as bytes; waits for one while the queue is empty. One that was not put as bytes comes in this
    /// library's own format.
    ///
    /// # Errors
    /// If the queue is closed and empty.
    ///
    /// # Crash safety
    /// As [`get`](Self::get).
    pub fn get_bytes(&self) -> Result<Item<Vec<u8>>, GetError> {
        self.lend_bytes(Patience::Forever).map_err(GetStop::into_get_error)
    }

    /// Borrows the next item as bytes if there is one right now; see [`get_bytes`](Self::get_bytes).
    ///
    /// # Errors
    /// As [`get_bytes`](Self::get_bytes), and [`TryGetError::Empty`].
    pub fn try_get_bytes(&self) -> Result<Item<Vec<u8>>, TryGetError> {
        self.lend_bytes(Patience::Now).map_err(GetStop::into_try_get_error)
    }

    /// Borrows the next item as bytes; waits for one, but no longer than `timeout`. See [`get_bytes`](Self::get_bytes).
    ///
    /// # Errors
    /// As [`get_bytes`](Self::get_bytes), and [`GetTimeoutError::TimedOut`].
    pub fn get_bytes_timeout(&self, timeout: Duration) -> Result<Item<Vec<u8>>, GetTimeoutError> {
        self.lend_bytes(Patience::For(timeout)).map_err(GetStop::into_get_timeout_error)
    }

    /// Borrows the next item as bytes; waits for one, but no longer than until `deadline`. See
    /// [`get_bytes`](Self::get_bytes).
    ///
    /// # Errors
    /// As [`get_bytes_timeout`](Self::get_bytes_timeout).
    pub fn get_bytes_deadline(&self, deadline: Instant) -> Result<Item<Vec<u8>>, GetTimeoutError> {
        self.lend_bytes(Patience::until(deadline)).map_err(GetStop::into_get_timeout_error)
    }

    fn lend_bytes(&self, patience: Patience) -> Result<Item<Vec<u8>>, GetStop> {
        let (lease, content) = self.raw.take_lease(patience)?;
        Ok(Item::new(content.into_bytes(), lease))
    }
}
