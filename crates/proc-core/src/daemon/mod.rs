//! Daemons: processes without a terminal that outlive the process that started them.
//!
//! ```no_run
//! use proc_core::daemon::{Daemonize, Daemonized};
//!
//! match Daemonize::new().pid_file("/run/clock.pid").start()? {
//!     Daemonized::Launcher { pid } => println!("the clock runs as {pid}"),
//!     Daemonized::Daemon(ready) => {
//!         let listener = std::net::TcpListener::bind("127.0.0.1:7000")?;
//!         ready.notify(); // only now does the launcher go on
//!         for client in listener.incoming() { /* … */ }
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod identity;
mod inherited;
mod launch;
mod pid_file;
mod ready;
mod setup;

use std::{
    os::fd::{AsRawFd, RawFd},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

pub use error::DaemonError;
pub use identity::Identity;
pub use pid_file::{pid_of, stop, stop_timeout};
pub use ready::Ready;

/// What a daemon is to be like.
///
/// Starting one forks twice. The daemon is in a session of its own without a terminal, is a child of `init` (or of the
/// nearest subreaper), has `/` as its working directory, umask 022, and `/dev/null` for its standard streams, unless
/// told otherwise. Descriptors that this program itself was started with are closed in it, except the standard streams and
/// those that were marked close-on-exec since; those that this program has opened stay, for they belong to values that the
/// daemon has as well. (Without the feature `auto-entry` no note is taken at the start: then whatever is not marked
/// close-on-exec counts as inherited.)
///
/// # Crash safety
/// The pid file is held by a lock which the kernel releases when the daemon dies, `kill -9` included: what is left of
/// the file then is taken over by the next start. If the launcher dies while it waits, the daemon goes on. If the
/// daemon dies before it is ready, the launcher is told so at once.
///
/// # Examples
/// ```no_run
/// use proc_core::daemon::{Daemonize, Daemonized};
///
/// let clock = Daemonize::new().pid_file("/run/clock.pid").working_dir("/srv/clock");
/// if let Daemonized::Launcher { pid } = clock.start()? {
///     println!("the clock runs as {pid}");
/// }
/// # Ok::<(), proc_core::daemon::DaemonError>(())
/// ```
#[derive(Debug)]
#[must_use = "a daemon is not started before `start` or `run`"]
pub struct Daemonize {
    pid_file: Option<PathBuf>,
    working_dir: PathBuf,
    umask: u32,
    streams: [Stdio; 3],
    user: Option<Identity>,
    group: Option<Identity>,
    kept: Vec<RawFd>,
    ready_timeout: Option<Duration>,
}

impl Default for Daemonize {
    fn default() -> Self {
        Self {
            pid_file: None,
            working_dir: "/".into(),
            umask: 0o022,
            streams: [Stdio::null(), Stdio::null(), Stdio::null()],
            user: None,
            group: None,
            kept: Vec::new(),
            ready_timeout: None,
        }
    }
}

/// Which of the two processes returned from [`Daemonize::start`].
#[derive(Debug)]
#[must_use = "two processes return from `start`: only one of them is the daemon"]
pub enum Daemonized {
    /// The one that called it. The daemon has said that it is ready.
    Launcher {
        /// The daemon's pid.
        pid: u32,
    },
    /// The daemon. Its launcher waits for a word.
    Daemon(Ready),
}

impl Daemonize {
    /// A daemon with nothing special.
    pub fn new() -> Self {
        Self::default()
    }

    /// The file that holds the daemon's pid and sees to it that there is only one. It is removed when the daemon exits.
    ///
    /// What another daemon has left there is replaced, for which its directory must be writable. What is something else (a
    /// symbolic link, a pipe, a file that holds no pid), belongs to a user other than root and this one, or may be written by
    /// others is left alone: that is an error.
    pub fn pid_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.pid_file = Some(path.into());
        self
    }

    /// Its working directory.
    #[doc(alias = "working_directory")]
    pub fn working_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.working_dir = dir.into();
        self
    }

    /// Its file mode creation mask.
    pub fn umask(mut self, mask: u32) -> Self {
        self.umask = mask;
        self
    }

    /// Its standard input: a `File`, for example.
    pub fn stdin(mut self, stream: impl Into<Stdio>) -> Self {
        self.streams[0] = stream.into();
        self
    }

    /// Its standard output: a `File`, for example.
    pub fn stdout(mut self, stream: impl Into<Stdio>) -> Self {
        self.streams[1] = stream.into();
        self
    }

    /// Its standard error: a `File`, for example.
    pub fn stderr(mut self, stream: impl Into<Stdio>) -> Self {
        self.streams[2] = stream.into();
        self
    }

    /// The user that it becomes, by name or number, with that user's groups. Needs privileges, and they are gone then.
    pub fn user(mut self, user: impl Into<Identity>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// The group that it becomes a member of instead of the user's own, by name or number.
    pub fn group(mut self, group: impl Into<Identity>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Keeps a descriptor open that this program was started with.
    pub fn keep_fd(mut self, fd: &impl AsRawFd) -> Self {
        self.kept.push(fd.as_raw_fd());
        self
    }

    /// How long the daemon has to become ready; without a limit otherwise.
    pub fn ready_timeout(mut self, timeout: Duration) -> Self {
        self.ready_timeout = Some(timeout);
        self
    }

    /// Starts the daemon: returns twice, in the daemon with a [`Ready`] and, once that has been notified, in the caller.
    ///
    /// # Errors
    /// In the caller only, and no daemon is left then: [`DaemonError::Multithreaded`] if other threads run, which the
    /// daemon would not have; what could not be set up; what the daemon itself reported; its exit or panic before it was
    /// ready.
    pub fn start(self) -> Result<Daemonized, DaemonError> {
        launch::start(self)
    }

    /// Starts a daemon that runs `f` and then exits: with code 0 if it returns `Ok`, 1 for `Err`, 101 after a panic.
    /// Returns the daemon's pid once `f` has called [`Ready::notify`].
    ///
    /// # Errors
    /// As [`start`](Self::start); an `Err` or panic of `f` before it is ready is one of those.
    ///
    /// # Examples
    /// ```no_run
    /// use proc_core::daemon::Daemonize;
    ///
    /// let pid = Daemonize::new().pid_file("/tmp/clock.pid").run(|ready| {
    ///     let listener = std::net::TcpListener::bind("127.0.0.1:7000")?;
    ///     ready.notify();
    ///     for client in listener.incoming() { /* … */ }
    ///     Ok::<(), std::io::Error>(())
    /// })?;
    /// println!("the clock runs as {pid}");
    /// # Ok::<(), proc_core::daemon::DaemonError>(())
    /// ```
    pub fn run<E: std::fmt::Display>(self, f: impl FnOnce(&Ready) -> Result<(), E>) -> Result<u32, DaemonError> {
        match self.start()? {
            Daemonized::Launcher { pid } => Ok(pid),
            Daemonized::Daemon(ready) => ready.run(f),
        }
    }
}
