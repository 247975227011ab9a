//! Processes as futures, for any runtime or none.

use std::{
    fmt,
    future::{Future, IntoFuture},
    ops::Deref,
    os::fd::AsFd,
    pin::Pin,
    process::ExitStatus,
    task::{Context, Poll},
};

use kernel::reactor::Readable;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::ProcessError,
    process::{Process, ProcessHandle},
};

impl ProcessHandle {
    /// Waits until it has ended; a future, for any runtime or none. Any number of tasks and threads may wait at once; each
    /// gets the status. Dropped before its end, it leaves nothing behind.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    /// ```
    /// use proc_core::{Process, ProcessError};
    ///
    /// async fn is_success(process: &Process<u8>) -> Result<bool, ProcessError> {
    ///     Ok(process.wait_async().await?.success())
    /// }
    /// ```
    pub fn wait_async(&self) -> Exit<'_> {
        Exit { handle: self, readable: Readable::default() }
    }
}

/// The future of [`ProcessHandle::wait_async`].
#[must_use = "futures do nothing unless polled"]
#[derive(Debug)]
pub struct Exit<'a> {
    handle: &'a ProcessHandle,
    readable: Readable,
}

impl Future for Exit<'_> {
    type Output = Result<ExitStatus, ProcessError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { handle, readable } = self.get_mut();
        std::task::ready!(poll_end(handle, readable, context))?;
        Poll::Ready(handle.wait())
    }
}

/// Ready once the process has ended, so that waiting for it does not block.
fn poll_end(
    handle: &ProcessHandle,
    readable: &mut Readable,
    context: &mut Context<'_>,
) -> Poll<Result<(), ProcessError>> {
    if !handle.is_alive() {
        return Poll::Ready(Ok(()));
    }
    // If it ends from now on, or has since, the descriptor says so.
    match readable.wake(handle.as_fd(), context.waker()) {
        Ok(()) => Poll::Pending,
        Err(e) => Poll::Ready(Err(ProcessError::Start { operation: "wait".into(), source: e })),
    }
}

/// The future of `process.await`: [`Process::join`] without blocking a thread. It dereferences to the [`ProcessHandle`].
///
/// Dropped before its end, it is a dropped [`Process`]: that runs on, is reaped, and its value is lost. So a `select` over
/// it and something else waits for `&mut` of it, and keeps it.
///
/// # Examples
/// ```
/// use proc_core::{Process, ProcessError};
///
/// async fn answer() -> Result<u64, ProcessError> {
///     Process::spawn(|a: u64, b: u64| a * b, (6, 7))?.await
/// }
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct Join<R> {
    /// `None` once its end has been told.
    process: Option<Process<R>>,
    readable: Readable,
}

const ENDED: &str = "a future is not used after its end";

impl<R: Serialize + DeserializeOwned> IntoFuture for Process<R> {
    type Output = Result<R, ProcessError>;
    type IntoFuture = Join<R>;

    fn into_future(self) -> Join<R> {
        Join { process: Some(self), readable: Readable::default() }
    }
}

impl<R: Serialize + DeserializeOwned> Future for Join<R> {
    type Output = Result<R, ProcessError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { process, readable } = self.get_mut();
        std::task::ready!(poll_end(process.as_ref().expect(ENDED), readable, context))?;
        Poll::Ready(process.take().expect(ENDED).join())
    }
}

impl<R> Deref for Join<R> {
    type Target = ProcessHandle;

    /// # Panics
    /// If the future has come to its end.
    fn deref(&self) -> &ProcessHandle {
        self.process.as_deref().expect(ENDED)
    }
}

impl<R> fmt::Debug for Join<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Join").field(&self.process).finish()
    }
}
