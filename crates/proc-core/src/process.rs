//! Handles to processes.

use std::{
    fmt,
    marker::PhantomData,
    ops::Deref,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus},
    sync::Arc,
    time::Duration,
};

use nix::sys::signal::Signal;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    children::{self, Child},
    crash::CrashReport,
    error::ProcessError,
    lock::lock,
    outcome,
    report::{Found, Left},
    start::forkserver,
};
use kernel::futex::Deadline;

/// A function that runs in a process of its own, and will return an `R`.
///
/// Everything but [`join`](Self::join) is on [`ProcessHandle`], to which this dereferences. A dropped `Process` runs
/// on, is reaped when it ends, and is waited for when the calling process exits (a daemon: terminated).
///
/// # Crash safety
/// A child dies with its owner, `SIGKILL` included, unless it was started with `death_link(false)`. A child that is
/// killed, on whatever line, is reported as [`ProcessError::Signaled`] by `join`, which never hangs on it.
///
/// # Examples
/// ```
/// use proc_core::Process;
///
/// fn work(n: u64, label: String) -> String {
///     format!("{label} {}", n * 2)
/// }
///
/// let process = Process::spawn(work, (21, "the answer is".into()))?;
/// assert_eq!(process.join()?, "the answer is 42");
/// # Ok::<(), proc_core::ProcessError>(())
/// ```
///
/// `process.await` is `join` without blocking a thread, on any runtime or none: see [`Join`](crate::Join).
///
/// What captures cannot run in another process, and does not compile:
/// ```compile_fail,E0080
/// let n = 21;
/// let process = proc_core::Process::spawn(move || n * 2, ());
/// ```
#[must_use = "a process runs on when its handle is dropped; call `join` for its value"]
pub struct Process<R> {
    handle: ProcessHandle,
    value: PhantomData<fn() -> R>,
}

impl<R: Serialize + DeserializeOwned> Process<R> {
    /// Waits until the process has ended and returns its value.
    ///
    /// # Errors
    /// Each way to end without a value has its own variant of [`ProcessError`].
    pub fn join(self) -> Result<R, ProcessError> {
        let status = self.handle.wait();
        let child = &self.handle.0;
        let (name, pid) = (child.name.clone(), child.pid);
        let Left { found, crash } = child.left();
        let status = match status {
            // Another part of the program has collected its status, but what it left says how it ended: a child that leaves
            // something exits right after it.
            Err(ProcessError::StatusLost { .. }) if matches!(found, Ok(Found::Value(_) | Found::Failure(_))) => {
                ExitStatus::default()
            }
            status => status?,
        };
        let value = outcome::value_of(&name, pid, status, Left { found, crash })?;
        let message = |e| format!("its value does not decode: {e}");
        value.unpack().map_err(|e| ProcessError::Decode { name, pid, message: message(e) })
    }
}

impl<R> Process<R> {
    pub(crate) fn new(handle: ProcessHandle) -> Self {
        Self { handle, value: PhantomData }
    }

    /// A handle that can be kept beside this one; it cannot get at the value.
    pub fn handle(&self) -> ProcessHandle {
        self.handle.clone()
    }
}

impl<R> Deref for Process<R> {
    type Target = ProcessHandle;

    fn deref(&self) -> &ProcessHandle {
        &self.handle
    }
}

impl<R> AsFd for Process<R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl<R> AsRawFd for Process<R> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<R> Drop for Process<R> {
    fn drop(&mut self) {
        children::reap_in_background(&self.handle.0);
    }
}

impl<R> fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}

/// A process or a thread as a type: its fields are what it needs, and [`run`](Self::run) runs there.
///
/// [`Process::start`] hands the fields over to another process, so they must be serialisable, and so must what comes
/// back; [`thread::start`](crate::thread::start) moves them to a thread, so they must be `Send`. A type that is both can
/// be started as either.
///
/// # Examples
/// ```
/// use proc_core::{Process, Runnable, thread};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Square {
///     n: u64,
/// }
///
/// impl Runnable for Square {
///     type Output = u64;
///
///     fn run(self) -> u64 {
///         self.n * self.n
///     }
/// }
///
/// assert_eq!(Process::start(Square { n: 7 })?.join()?, 49);
/// assert_eq!(thread::start(Square { n: 8 }).join()?, 64);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Runnable {
    /// What it returns.
    type Output;

    /// What the process or the thread does.
    fn run(self) -> Self::Output;
}

/// A child process, whatever it returns. Clones are handles to the same child.
///
/// The descriptor it gives out ([`AsFd`]) is a pidfd: readable once the process has ended, for poll, epoll and every
/// async runtime. It names this process for good; no method ever reaches another one that got its pid.
#[derive(Clone)]
pub struct ProcessHandle(pub(crate) Arc<Child>);

impl ProcessHandle {
    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.0.pid
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether it is a daemon: terminated, not waited for, when its owner exits.
    pub fn is_daemon(&self) -> bool {
        self.0.daemon
    }

    /// Whether it has not ended yet. Never blocks.
    pub fn is_alive(&self) -> bool {
        self.0.is_alive()
    }

    /// Waits until it has ended. Any number of threads may wait at once; each gets the status.
    ///
    /// # Errors
    /// [`ProcessError::StatusLost`] if it has been reaped behind our back.
    pub fn wait(&self) -> Result<ExitStatus, ProcessError> {
        loop {
            if let Some(status) = self.0.wait(None)? {
                return Ok(status);
            }
        }
    }

    /// Waits until it has ended, or `timeout` has passed: then `None`.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<ExitStatus>, ProcessError> {
        self.0.wait(Deadline::after(timeout))
    }

    /// Its status if it has ended. Never blocks.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    #[doc(alias = "exitcode")]
    pub fn try_wait(&self) -> Result<Option<ExitStatus>, ProcessError> {
        self.0.try_wait()
    }

    /// What it told of its own end, if a fault of its own killed it. `None` while it runs.
    pub fn crash_report(&self) -> Option<CrashReport> {
        if self.is_alive() { None } else { self.0.crash() }
    }

    /// What of its [`Confinement`](crate::Confinement) holds, from when its function is called; `None` if it has none.
    #[cfg(feature = "confine")]
    pub fn confinement(&self) -> Option<crate::Confined> {
        self.0.confined.get().copied()
    }

    /// Sends it SIGTERM. Does nothing if it has ended.
    ///
    /// # Errors
    /// What the kernel reports, `EPERM` for one.
    pub fn terminate(&self) -> Result<(), ProcessError> {
        self.0.signal(libc::SIGTERM)
    }

    /// Sends it SIGKILL. Does nothing if it has ended.
    ///
    /// # Errors
    /// As [`terminate`](Self::terminate).
    pub fn kill(&self) -> Result<(), ProcessError> {
        self.0.signal(libc::SIGKILL)
    }

    /// Sends it a signal. Does nothing if it has ended.
    ///
    /// # Errors
    /// As [`terminate`](Self::terminate).
    #[doc(alias = "send_signal")]
    pub fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        self.0.signal(signal as i32)
    }

    /// Sends it SIGTERM, waits for `grace`, then sends SIGKILL; returns its status. Takes `grace` and a little more.
    ///
    /// # Errors
    /// As [`terminate`](Self::terminate) and [`wait`](Self::wait).
    pub fn stop(&self, grace: Duration) -> Result<ExitStatus, ProcessError> {
        self.terminate()?;
        match self.wait_timeout(grace)? {
            Some(status) => Ok(status),
            None => {
                self.kill()?;
                self.wait()
            }
        }
    }

    /// Passes on what it has logged and was not passed on yet. [`wait`](Self::wait) and [`join`](Process::join) do that for a
    /// child that has ended; this is for programs that learn of the end in another way. Blocks while the program's logger is
    /// called, but no longer than a second for a call that does not come back.
    pub fn drain_output(&self) {
        self.0.drain();
    }

    /// Our end of its standard input, if that is a pipe. Once.
    pub fn take_stdin(&self) -> Option<ChildStdin> {
        lock(&self.0.pipes)[0].take().map(ChildStdin::from)
    }

    /// Our end of its standard output, if that is a pipe. Once.
    pub fn take_stdout(&self) -> Option<ChildStdout> {
        lock(&self.0.pipes)[1].take().map(ChildStdout::from)
    }

    /// Our end of its standard error, if that is a pipe. Once.
    pub fn take_stderr(&self) -> Option<ChildStderr> {
        lock(&self.0.pipes)[2].take().map(ChildStderr::from)
    }
}

impl AsFd for ProcessHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.pidfd.as_fd()
    }
}

impl AsRawFd for ProcessHandle {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for ProcessHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name())
            .field("pid", &self.pid())
            .field("daemon", &self.is_daemon())
            .field("alive", &self.is_alive())
            .finish()
    }
}

/// The children that are still running; reaps those that are not. Never blocks. Programs started with
/// [`command`](crate::command) are not among them.
///
/// Their handles can still be joined.
pub fn active_children() -> Vec<ProcessHandle> {
    forkserver::tidy();
    children::all().into_iter().filter(|child| matches!(child.try_wait(), Ok(None))).map(ProcessHandle).collect()
}
