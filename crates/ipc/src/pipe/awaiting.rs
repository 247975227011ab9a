//! Sending and receiving as futures, for any runtime or none.
//!
//! A pipe's descriptor says when there is something to receive. Only a sleeping sender is told when there is room again, so
//! a helper thread sends a message that finds none.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use kernel::{blocking::Blocking, handover, reactor::Readable};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    RecvError, SendError,
    biased::WaitLimit,
    connection::Connection,
    end::{Incoming, Outgoing},
    simplex::{Receiver, Sender, decode},
    stop::{RecvStop, SendStop},
};

impl<T: DeserializeOwned> Receiver<T> {
    /// Receives a value; a future, for any runtime or none. Dropped before its end, it has received nothing.
    ///
    /// Of several processes that share an end, one is woken only: best is one process at a time.
    ///
    /// # Errors
    /// As [`recv`](Self::recv); `Io` if descriptors or threads are short.
    ///
    /// # Examples
    /// ```
    /// async fn sum(numbers: &ipc::Receiver<u64>) -> u64 {
    ///     let mut sum = 0;
    ///     while let Ok(n) = numbers.recv_async().await {
    ///         sum += n;
    ///     }
    ///     sum
    /// }
    /// ```
    pub fn recv_async(&self) -> RecvFuture<'_, T> {
        RecvFuture {
            end: &self.end,
            readable: Readable::default(),
            receive: |end| end.receive(WaitLimit::None, decode),
        }
    }
}

impl<T: DeserializeOwned> Connection<T> {
    /// As [`Receiver::recv_async`].
    ///
    /// # Errors
    /// As [`recv`](Self::recv); `Io` if descriptors or threads are short.
    pub fn recv_async(&self) -> RecvFuture<'_, T> {
        self.receiver.recv_async()
    }
}

impl<T: Serialize + DeserializeOwned> Sender<T> {
    /// Sends a value; a future, for any runtime or none. Dropped before its end, it has sent the value whole or not at all.
    ///
    /// # Errors
    /// As [`send`](Self::send); `Io` if threads are short.
    ///
    /// # Panics
    /// As [`send`](Self::send).
    pub fn send_async<'a>(&'a self, value: &'a T) -> SendFuture<'a, T> {
        SendFuture { end: &self.end, value, helper: None }
    }
}

impl<T: Serialize + DeserializeOwned> Connection<T> {
    /// As [`Sender::send_async`].
    ///
    /// # Errors
    /// As [`send`](Self::send); `Io` if threads are short.
    ///
    /// # Panics
    /// As [`send`](Self::send).
    pub fn send_async<'a>(&'a self, value: &'a T) -> SendFuture<'a, T> {
        self.sender.send_async(value)
    }
}

/// The future of [`Receiver::recv_async`] and [`Connection::recv_async`].
#[must_use = "futures do nothing unless polled"]
pub struct RecvFuture<'a, T> {
    end: &'a Incoming,
    readable: Readable,
    /// Without waiting.
    receive: fn(&Incoming) -> Result<T, RecvStop>,
}

impl<T> Future for RecvFuture<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { end, readable, receive } = self.get_mut();
        match receive(end) {
            Ok(value) => return Poll::Ready(Ok(value)),
            Err(RecvStop::WouldBlock) => {}
            Err(RecvStop::Failed(e)) => return Poll::Ready(Err(e)),
        }
        // What comes from now on, or has come since, makes it readable.
        let fd = match end.pollable() {
            Ok(fd) => fd,
            Err(e) => return Poll::Ready(Err(e)),
        };
        match readable.wake(fd, context.waker()) {
            Ok(()) => Poll::Pending,
            Err(e) => Poll::Ready(Err(RecvError::Io(e))),
        }
    }
}

impl<T> fmt::Debug for RecvFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvFuture").finish_non_exhaustive()
    }
}

/// The future of [`Sender::send_async`] and [`Connection::send_async`].
#[must_use = "futures do nothing unless polled"]
pub struct SendFuture<'a, T> {
    end: &'a Arc<Outgoing>,
    value: &'a T,
    /// Sends it, if there was no room at first.
    helper: Option<Blocking<Result<(), SendError>>>,
}

impl<T: Serialize + DeserializeOwned> Future for SendFuture<'_, T> {
    type Output = Result<(), SendError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { end, value, helper } = self.get_mut();
        if let Some(helper) = helper.as_mut().filter(|helper| helper.is_made_here()) {
            return helper.poll(context.waker());
        }
        match end.send(*value, WaitLimit::None) {
            Ok(()) => return Poll::Ready(Ok(())),
            Err(SendStop::WouldBlock) => {}
            Err(SendStop::Failed(e)) => return Poll::Ready(Err(e)),
        }
        let packed = handover::pack_owned(*value).map_err(SendError::Encode)?;
        let end = Arc::clone(end);
        // If the time of an attempt is over amid the message, that part of it is dropped by its reader.
        let attempt = move |deadline| match end.send_packed(&packed, WaitLimit::Until(Some(deadline))) {
            Ok(()) => Some(Ok(())),
            Err(SendStop::WouldBlock) => None,
            Err(SendStop::Failed(e)) => Some(Err(e)),
        };
        *helper = Some(Blocking::start(context.waker(), attempt).map_err(SendError::Io)?);
        Poll::Pending
    }
}

impl<T> fmt::Debug for SendFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendFuture").finish_non_exhaustive()
    }
}
