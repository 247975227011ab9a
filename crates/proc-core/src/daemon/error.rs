//! Why there is no daemon.

use std::{fmt, io, os::unix::process::ExitStatusExt, path::PathBuf, process::ExitStatus};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// Why a daemon was not started, or not stopped.
#[derive(Debug)]
#[non_exhaustive]
pub enum DaemonError {
    /// This process has other threads, so that it cannot be forked safely.
    Multithreaded {
        /// How many it has in all.
        n_threads: usize,
    },
    /// Another daemon holds the pid file.
    AlreadyRunning {
        /// Its pid.
        pid: u32,
        /// The file.
        pid_file: PathBuf,
    },
    /// No daemon holds the pid file.
    NotRunning {
        /// The file.
        pid_file: PathBuf,
    },
    /// Something that the system did not allow.
    System {
        /// What could not be done.
        operation: String,
        /// Why.
        source: io::Error,
    },
    /// What the daemon itself said, with [`Ready::fail`](super::Ready::fail) or as an `Err`.
    Failed {
        /// Its words.
        message: String,
    },
    /// The daemon panicked before it was ready.
    Panicked {
        /// The panic's message.
        message: String,
        /// `file:line:column`; empty if unknown.
        location: String,
    },
    /// The daemon ended before it was ready.
    Ended {
        /// How, if that could be found out.
        status: Option<ExitStatus>,
    },
    /// The daemon dropped its [`Ready`](super::Ready) without a word, and was ended.
    NeverReady,
    /// The daemon was not ready in time, and was ended.
    TimedOut,
}

/// The ways to fail that the daemon tells its launcher of.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum DaemonFailure {
    AlreadyRunning { pid: u32, pid_file: PathBuf },
    System { operation: String, errno: i32 },
    Failed { message: String },
    Panicked { message: String, location: String },
}

impl DaemonFailure {
    /// For `map_err`.
    pub(super) fn system(operation: impl Into<String>) -> impl FnOnce(Errno) -> Self {
        |errno| Self::System { operation: operation.into(), errno: errno as i32 }
    }
}

impl From<DaemonFailure> for DaemonError {
    fn from(failure: DaemonFailure) -> Self {
        match failure {
            DaemonFailure::AlreadyRunning { pid, pid_file } => Self::AlreadyRunning { pid, pid_file },
            DaemonFailure::System { operation, errno } => {
                Self::System { operation, source: io::Error::from_raw_os_error(errno) }
            }
            DaemonFailure::Failed { message } => Self::Failed { message },
            DaemonFailure::Panicked { message, location } => Self::Panicked { message, location },
        }
    }
}

impl fmt::Display for DaemonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Multithreaded { n_threads } => {
                write!(f, "a process with {n_threads} threads cannot turn into a daemon safely")
            }
            Self::AlreadyRunning { pid, pid_file } => {
                write!(f, "the daemon runs already, as process {pid} ({})", pid_file.display())
            }
            Self::NotRunning { pid_file } => write!(f, "no daemon runs ({})", pid_file.display()),
            Self::System { operation, source } => write!(f, "cannot {operation}: {source}"),
            Self::Failed { message } => f.write_str(message),
            Self::Panicked { message, location } => write!(f, "the daemon panicked at {location}: {message}"),
            Self::Ended { status: None } => f.write_str("the daemon ended before it was ready"),
            Self::Ended { status: Some(status) } => match (status.code(), status.signal()) {
                (Some(code), _) => write!(f, "the daemon exited with code {code} before it was ready"),
                (_, Some(signal)) => write!(f, "the daemon was killed by signal {signal} before it was ready"),
                _ => write!(f, "the daemon ended before it was ready ({status})"),
            },
            Self::NeverReady => f.write_str("the daemon never said that it was ready"),
            Self::TimedOut => f.write_str("the daemon was not ready in time"),
        }
    }
}

impl std::error::Error for DaemonError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { source, .. } => Some(source),
            _ => None,
        }
    }
}
