//! External programs: run one, talk to one, join several in a pipeline.
//!
//! ```
//! use proc_core::command::{Popen, call, run};
//! use std::{process::Stdio, time::Duration};
//!
//! assert!(call(["true"])?.success());
//! assert_eq!(run(["echo", "hello"])?.stdout, b"hello\n");
//!
//! let tr = Popen::builder(["tr", "a-z", "A-Z"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
//! assert_eq!(tr.communicate("hello", Duration::from_secs(10))?.stdout, b"HELLO");
//! # Ok::<(), proc_core::command::CommandError>(())
//! ```
//!
//! Starting is std's business (`std::process::Command`). What is added: programs die with this process, whole groups
//! can be killed, handles are shared and never reach another process, and exchanging data neither deadlocks nor hangs
//! on a grandchild that kept the pipe.

mod builder;
mod communicate;
mod error;
mod introduction;
mod link;
mod pipeline;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsStr,
    fmt,
    ops::Deref,
    os::fd::{AsFd, BorrowedFd},
    process::{ExitStatus, Output, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

pub use builder::PopenBuilder;
pub use communicate::Input;
pub use error::{CommandError, Partial};
pub use pipeline::Pipeline;

use crate::{children, futex::Deadline, process::ProcessHandle};
use communicate::Exchange;

/// Runs a program and waits until it has ended. Its standard streams are this process's own.
///
/// # Errors
/// If it cannot be started. A status other than success is not an error here; see [`run`].
///
/// # Examples
/// ```
/// # use proc_core::command::call;
/// let status = call(["ls", "-l"])?;
/// assert!(status.success());
/// # Ok::<(), proc_core::command::CommandError>(())
/// ```
pub fn call<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Result<ExitStatus, CommandError> {
    Ok(Popen::new(args)?.wait()?)
}

/// Runs a program, waits until it has ended, and returns what it wrote. Its standard input is empty.
///
/// # Errors
/// If it cannot be started, and [`CommandError::Failed`] for any status but success.
///
/// # Examples
/// ```
/// # use proc_core::command::{CommandError, run};
/// assert_eq!(run(["echo", "hello"])?.stdout, b"hello\n");
/// let failed = run(["sh", "-c", "echo sorry >&2; exit 3"]).unwrap_err();
/// assert_eq!(failed.to_string(), "sh: exit status: 3: sorry");
/// # Ok::<(), CommandError>(())
/// ```
#[doc(alias = "check_output")]
#[doc(alias = "check_call")]
pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Result<Output, CommandError> {
    let builder = Popen::builder(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let program = builder.spawn()?;
    let output = program.communicate(None, None)?;
    if output.status.success() { Ok(output) } else { Err(CommandError::failed(program.name(), output)) }
}

/// A program that has been started.
///
/// Everything that concerns it as a process ([`wait`](ProcessHandle::wait), [`kill`](ProcessHandle::kill), …) is on
/// [`ProcessHandle`], to which this dereferences. A dropped `Popen` runs on, and is reaped when it ends.
///
/// # Crash safety
/// The kernel kills the program when this process dies, `SIGKILL` included, unless it was started with
/// [`death_link(false)`](PopenBuilder::death_link). At this process's orderly exit it is terminated.
#[must_use = "a program runs on when its handle is dropped"]
pub struct Popen {
    handle: ProcessHandle,
    exchange: Mutex<Exchange>,
}

impl Popen {
    /// Starts a program. Its standard streams are this process's own.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn new<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Result<Self, CommandError> {
        Self::builder(args).spawn()
    }

    /// Says what a program is to be like before it is started. The first of `args` names it.
    pub fn builder<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> PopenBuilder {
        PopenBuilder::new(args)
    }

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

    fn of(handle: ProcessHandle) -> Self {
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
