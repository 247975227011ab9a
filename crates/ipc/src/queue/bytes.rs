//! Messages that are bytes already.

use std::time::{Duration, Instant};

use super::{
    Queue,
    patience::Patience,
    stop::{GetStop, PutStop},
};
use crate::{GetError, GetTimeoutError, PutError, PutTimeoutError, TryGetError, TryPutError};

impl<T> Queue<T> {
    /// Puts a message that is bytes already, as they are; waits for room while the queue is full.
    ///
    /// They are for [`get_bytes`](Self::get_bytes): a `get` would take them for a serialised `T`.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    #[inline]
    pub fn put_bytes(&self, message: &[u8]) -> Result<(), PutError<()>> {
        self.put_raw(message, Patience::Forever).map_err(|stop| stop.into_put_error(()))
    }

    /// Puts a message that is bytes already if there is room right now; see [`put_bytes`](Self::put_bytes).
    ///
    /// # Errors
    /// As [`try_put`](Self::try_put).
    pub fn try_put_bytes(&self, message: &[u8]) -> Result<(), TryPutError<()>> {
        self.put_raw(message, Patience::Now).map_err(|stop| stop.into_try_put_error(()))
    }

    /// Puts a message that is bytes already; waits for room, but no longer than `timeout`. See [`put_bytes`](Self::put_bytes).
    ///
    /// # Errors
    /// As [`put_timeout`](Self::put_timeout).
    pub fn put_bytes_timeout(&self, message: &[u8], timeout: Duration) -> Result<(), PutTimeoutError<()>> {
        self.put_raw(message, Patience::For(timeout)).map_err(|stop| stop.into_put_timeout_error(()))
    }

    /// Puts a message that is bytes already; waits for room, but no longer than until `deadline`. See
    /// [`put_bytes`](Self::put_bytes).
    ///
    /// # Errors
    /// As [`put_timeout`](Self::put_timeout).
    pub fn put_bytes_deadline(&self, message: &[u8], deadline: Instant) -> Result<(), PutTimeoutError<()>> {
        self.put_raw(message, Patience::until(deadline)).map_err(|stop| stop.into_put_timeout_error(()))
    }

    /// Takes the next message as bytes; waits for one while the queue is empty. One that was not put as bytes comes in
    /// this library's own format; one that is a number (an integer, a float, …) as that of the `u64` with its bits.
    ///
    /// # Errors
    /// If the queue is closed and empty.
    #[inline]
    pub fn get_bytes(&self) -> Result<Vec<u8>, GetError> {
        self.get_raw(Patience::Forever).map_err(GetStop::into_get_error)
    }

    /// Takes the next message as bytes if there is one right now; see [`get_bytes`](Self::get_bytes).
    ///
    /// # Errors
    /// As [`get_bytes`](Self::get_bytes), and [`TryGetError::Empty`].
    pub fn try_get_bytes(&self) -> Result<Vec<u8>, TryGetError> {
        self.get_raw(Patience::Now).map_err(GetStop::into_try_get_error)
    }

    /// Takes the next message as bytes; waits for one, but no longer than `timeout`. See [`get_bytes`](Self::get_bytes).
    ///
    /// # Errors
    /// As [`get_bytes`](Self::get_bytes), and [`GetTimeoutError::TimedOut`].
    pub fn get_bytes_timeout(&self, timeout: Duration) -> Result<Vec<u8>, GetTimeoutError> {
        self.get_raw(Patience::For(timeout)).map_err(GetStop::into_get_timeout_error)
    }

    /// Takes the next message as bytes; waits for one, but no longer than until `deadline`. See
    /// [`get_bytes`](Self::get_bytes).
    ///
    /// # Errors
    /// As [`get_bytes_timeout`](Self::get_bytes_timeout).
    pub fn get_bytes_deadline(&self, deadline: Instant) -> Result<Vec<u8>, GetTimeoutError> {
        self.get_raw(Patience::until(deadline)).map_err(GetStop::into_get_timeout_error)
    }

    #[inline]
    fn put_raw(&self, message: &[u8], patience: Patience) -> Result<(), PutStop> {
        self.raw.put_bytes(message, patience)
    }
}
