//! Starting programs.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::{Child, Command, Stdio},
};

use nix::errno::Errno;

use super::{error::CommandError, introduction::Introduction, link, popen::Popen};
use crate::{children, death_link, process::ProcessHandle, reaper, start::Started};
use kernel::sys::{fds, pidfd, reap, signals};

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
}

/// Says what a program is to be like before it is started.
///
/// # Examples
/// ```
/// use proc_core::command::Popen;
/// use std::{process::Stdio, time::Duration};
///
/// let cat = Popen::builder(["cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
/// assert_eq!(cat.communicate("hello", Duration::from_secs(10))?.stdout, b"hello");
/// # Ok::<(), proc_core::command::CommandError>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder starts nothing until `spawn`"]
pub struct PopenBuilder {
    pub(super) command: Command,
    own_group: bool,
    outlives_us: bool,
}

impl PopenBuilder {
    fn new<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Self {
        let mut args = args.into_iter();
        // Without a name, std reports that there is no such program.
        let mut command = Command::new(args.next().map_or_else(OsString::new, |name| name.as_ref().to_owned()));
        command.args(args);
        Self::from(command)
    }

    /// Its standard input.
    pub fn stdin(mut self, stream: impl Into<Stdio>) -> Self {
        self.command.stdin(stream);
        self
    }

    /// Its standard output.
    pub fn stdout(mut self, stream: impl Into<Stdio>) -> Self {
        self.command.stdout(stream);
        self
    }

    /// Its standard error.
    pub fn stderr(mut self, stream: impl Into<Stdio>) -> Self {
        self.command.stderr(stream);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Removes an environment variable.
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Self {
        self.command.env_remove(key);
        self
    }

    /// Removes all environment variables, but those set after this.
    pub fn env_clear(mut self) -> Self {
        self.command.env_clear();
        self
    }

    /// Its working directory.
    #[doc(alias = "cwd")]
    pub fn current_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Makes it the leader of a process group. `terminate`, `kill` and `signal` then reach the whole group, that is all
    /// that it started too, except what made groups of its own. A terminal's Ctrl-C no longer reaches it.
    #[doc(alias = "kill_tree")]
    #[doc(alias = "start_new_session")]
    pub fn process_group(mut self) -> Self {
        self.command.process_group(0);
        self.own_group = true;
        self
    }

    /// Whether it ends with this process; true by default. Without it, a start takes no fork of this process's memory.
    ///
    /// The program finds one more descriptor open, through which the kernel kills it. One that closes all descriptors
    /// is not killed.
    #[doc(alias = "detach")]
    #[doc(alias = "PR_SET_PDEATHSIG")]
    pub fn death_link(mut self, linked: bool) -> Self {
        self.outlives_us = !linked;
        self
    }

    /// Starts it. Returns when it is executing, or cannot be.
    ///
    /// # Errors
    /// [`CommandError::Start`].
    pub fn spawn(mut self) -> Result<Popen, CommandError> {
        let program = self.command.get_program().to_string_lossy().into_owned();
        self.start(&program).map_err(|source| CommandError::Start { program, source })
    }

    fn start(&mut self, name: &str) -> io::Result<Popen> {
        #[cfg(feature = "confine")]
        if !crate::confine::may_start_processes() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, crate::ProcessError::Confined));
        }
        // Holds the place of the process descriptor, so that a full table is found out before the start.
        let place = fds::duplicate(death_link::end_for_children()?)?;
        if !self.outlives_us {
            link::tie(&mut self.command, place.as_fd())?;
        }
        // It is a fork then in any case.
        let introduction = (!self.outlives_us || signals::children_are_ignored())
            .then(|| Introduction::ask(&mut self.command))
            .transpose()?;
        let _starting = reaper::starting();
        let occupied = fds::Occupied::new()?;
        let mut child = self.command.spawn().map_err(explain)?;
        drop(occupied);
        drop(place);
        let pidfd = match introduction.and_then(Introduction::hear) {
            Some(pidfd) => pidfd,
            None => open(&mut child)?,
        };
        let pipes = [
            child.stdin.take().map(Into::into),
            child.stdout.take().map(Into::into),
            child.stderr.take().map(Into::into),
        ];
        let started = Started { pid: child.id(), pidfd };
        let child = children::register_program(started, name, pipes, self.own_group, !self.outlives_us);
        Ok(Popen::of(ProcessHandle(child)))
    }
}

/// Not every file that is missing is the program.
fn explain(error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::NotFound || Path::new("/dev/null").exists() {
        return error;
    }
    io::Error::new(error.kind(), format!("{error} (there is no /dev/null either, which a null stream is made of)"))
}

/// Opens the process of a program that has not introduced itself.
fn open(child: &mut Child) -> io::Result<OwnedFd> {
    match pidfd::open(child.id()) {
        Ok(pidfd) if reap::is_ours(pidfd.as_fd()) => Ok(pidfd),
        // Other code has reaped it.
        Ok(_) | Err(Errno::ESRCH) => Err(Errno::ESRCH.into()),
        Err(e) => {
            let _ = child.kill();
            let _ = child.wait();
            let e = io::Error::from(e);
            Err(io::Error::new(e.kind(), format!("its process cannot be opened (pidfd_open): {e}")))
        }
    }
}

impl From<Command> for PopenBuilder {
    fn from(command: Command) -> Self {
        Self { command, own_group: false, outlives_us: false }
    }
}
