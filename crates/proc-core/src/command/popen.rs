//! Programs that run.

use std::{
    fmt,
    ops::Deref,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    process::{ExitStatus, Output},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{
    communicate::{Exchange, Input},
    error::CommandError,
};
use crate::{children, process::ProcessHandle};
use kernel::futex::Deadline;

/// A program that has been started.
///
/// Everything that concerns it as a process ([`wait`](ProcessHandle::wait), [`kill`](ProcessHandle::kill), …) is on
/// [`ProcessHandle`], to which this dereferences. A dropped `Popen` runs on, and is reaped when it ends.
///
/// # Crash safety
/// The kernel kills the program when this process dies, `SIGKILL` included, unless it was started with
/// [`death_link(false)`](super::PopenBuilder::death_link). At this process's orderly exit it is terminated.
#[must_use = "a program runs on when its handle is dropped"]
pub struct Popen {
    handle: ProcessHandle,
    exchange: Mutex<Exchange>,
}

impl Popen {
    /// Its status if it has ended. Never blocks.
    ///
    /// # Errors
    /// If it has been reaped behind our back.
    pub fn poll(&self) -> Result<Option<ExitStatus>, CommandError> {
        Ok(self.try_wait()?)
    }

    /// Writes `input` to its standard input and closes that, reads what it writes to those of its standard output and
    /// error that are pipes, and waits until it has ended; for no longer than `timeout` (a `Duration`, or `None`).
    ///
    /// All at the same time, so that neither side can block the other. Once the program has ended, what it wrote is
    /// complete: a grandchild that still has the pipe is not waited for.
    ///
    /// # Errors
    /// [`CommandError::TimedOut`] with what has been read so far. The program runs on; call this again, with no input,
    /// to go on without a loss, or kill it.
    pub fn communicate(
        &self,
        input: impl Into<Input>,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<Output, CommandError> {
        self.communicate_limited(input, timeout, usize::MAX)
    }

    /// [`communicate`](Self::communicate) that reads no more than `limit` bytes from each of the streams.
    ///
    /// # Errors
    /// As there, and [`CommandError::TooMuchOutput`] once there is more. The program runs on; kill it, or call this
    /// again with a higher limit.
    pub fn communicate_limited(
        &self,
        input: impl Into<Input>,
        timeout: impl Into<Option<Duration>>,
        limit: usize,
    ) -> Result<Output, CommandError> {
        let deadline = timeout.into().and_then(Deadline::after);
        let mut exchange = self.exchange.lock().unwrap_or_else(PoisonError::into_inner);
        exchange.run(&self.handle, input.into(), deadline, limit)
    }

    pub(super) fn of(handle: ProcessHandle) -> Self {
        Self { handle, exchange: Mutex::default() }
    }
}

impl Deref for Popen {
    type Target = ProcessHandle;

    fn deref(&self) -> &ProcessHandle {
        &self.handle
    }
}

impl AsFd for Popen {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl AsRawFd for Popen {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Drop for Popen {
    fn drop(&mut self) {
        children::reap_in_background(&self.handle.0);
    }
}

impl fmt::Debug for Popen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}
