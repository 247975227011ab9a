//! Why a process could not be started, or ended without a value.

use std::{fmt, io, time::Duration};

#[cfg(feature = "confine")]
use crate::confine::Fence;
use crate::{backtrace::Backtrace, crash::CrashReport, function::ForeignCode, start::StartMethod};
use kernel::handover;

/// Why a process could not be started, or ended without a value.
///
/// Each way has its own variant; those about a process that ran name it.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProcessError {
    /// The function panicked.
    Panicked {
        /// The process's name.
        name: String,
        /// The process's pid.
        pid: u32,
        /// The panic's message.
        message: String,
        /// `file:line:column` of the panic; empty if the program replaced the panic hook.
        location: String,
        /// Where it came from, if `RUST_BACKTRACE` asks for it.
        backtrace: Backtrace,
        /// The name of the thread that panicked.
        thread: String,
    },
    /// The process called `exit`, or executed another program, instead of returning.
    Exited {
        /// The process's name.
        name: String,
        /// The process's pid.
        pid: u32,
        /// The exit code.
        code: i32,
    },
    /// A signal killed the process.
    Signaled {
        /// The process's name.
        name: String,
        /// The process's pid.
        pid: u32,
        /// The signal's number.
        signal: i32,
        /// Whether it left a core dump.
        core_dumped: bool,
        /// What it told of its end, if that was a fault of its own.
        crash: Option<CrashReport>,
    },
    /// The value, or the arguments, did not survive the journey between the processes.
    Decode {
        /// The process's name.
        name: String,
        /// The process's pid.
        pid: u32,
        /// What did not decode, or encode.
        message: String,
    },
    /// The process could not be set up as the builder was told, and ended without having run the function.
    Setup {
        /// The process's name.
        name: String,
        /// The process's pid.
        pid: u32,
        /// What could not be done.
        operation: String,
        /// Why.
        source: io::Error,
    },
    /// The process ended, but its status was collected elsewhere (a `waitpid(-1)`, an ignored `SIGCHLD`), and this kernel
    /// does not keep it; since Linux 6.15 it does.
    StatusLost {
        /// The process's name.
        name: String,
        /// The process's pid.
        pid: u32,
    },
    /// The arguments cannot be handed over.
    Arguments(handover::Error),
    /// The function is not this program's own.
    ForeignCode(ForeignCode),
    /// The process could not be started, or not be waited for; nothing runs.
    Start {
        /// What could not be done.
        operation: String,
        /// Why.
        source: io::Error,
    },
    /// The fork server was killed again and again in the middle of this start; nothing runs.
    LauncherLost,
    /// This process has other threads, so that it cannot be forked safely.
    Multithreaded {
        /// How many it has in all.
        n_threads: usize,
    },
    /// This process is a copy that was executed to serve another, and has not got to it. Either the program was built
    /// without the feature `auto-entry`, and does not call [`init`](crate::init) first in `main`; or a constructor, which runs
    /// before `main` in copies too, wants to start a process: each copy would start another one.
    EntryMissed,
    /// This kernel cannot confine a process so, and [`best_effort`](crate::Confinement::best_effort) was not asked for.
    #[cfg(feature = "confine")]
    CannotConfine {
        /// What it lacks.
        missing: Vec<Fence>,
    },
    /// This process is confined, and may start no others.
    #[cfg(feature = "confine")]
    Confined,
    /// A [`ForkServer`](crate::ForkServer) cannot load what its children are to share.
    Preload(PreloadError),
    /// Another start method has been set already.
    StartMethodSet {
        /// That one.
        method: StartMethod,
    },
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked { name, pid, message, location, thread, .. } => {
                write!(f, "process {name} ({pid}) panicked in thread {thread} at {location}: {message}")
            }
            Self::Exited { name, pid, code } => {
                write!(f, "process {name} ({pid}) exited with code {code} without returning a value")
            }
            Self::Signaled { name, pid, signal, core_dumped, crash } => {
                let dumped = if *core_dumped { " (core dumped)" } else { "" };
                match nix::sys::signal::Signal::try_from(*signal) {
                    Ok(known) => write!(f, "process {name} ({pid}) was killed by {known}{dumped}")?,
                    Err(_) => write!(f, "process {name} ({pid}) was killed by signal {signal}{dumped}")?,
                }
                crash.as_ref().map_or(Ok(()), |crash| write!(f, ": {}", crash.summary()))
            }
            Self::Decode { name, pid, message } => write!(f, "process {name} ({pid}): {message}"),
            Self::Setup { name, pid, operation, source } => {
                write!(f, "process {name} ({pid}) could not be set up: {operation}: {source}")
            }
            Self::StatusLost { name, pid } => {
                write!(f, "process {name} ({pid}) ended, but somebody else collected its status")
            }
            Self::Arguments(e) => write!(f, "the arguments cannot be handed over: {e}"),
            Self::ForeignCode(e) => e.fmt(f),
            Self::Start { operation, source } => write!(f, "cannot {operation}: {source}"),
            Self::LauncherLost => f.write_str("the fork server was killed again and again during the start"),
            Self::Multithreaded { n_threads } => {
                write!(f, "a process with {n_threads} threads cannot be forked safely; use another start method")
            }
            Self::EntryMissed => f.write_str(
                "this copy of the program was to serve another process and has not got to it: start nothing in \
                 constructors; without the feature auto-entry, call proc_core::init() first thing in main",
            ),
            #[cfg(feature = "confine")]
            Self::CannotConfine { missing } => {
                write!(f, "this kernel cannot confine a process so; it lacks the fences {missing:?}")
            }
            #[cfg(feature = "confine")]
            Self::Confined => f.write_str("this process is confined, and may start no others"),
            Self::Preload(e) => e.fmt(f),
            Self::StartMethodSet { method } => write!(f, "the start method has been set already, to {method:?}"),
        }
    }
}

impl std::error::Error for ProcessError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start { source, .. } | Self::Setup { source, .. } => Some(source),
            Self::Arguments(e) => Some(e),
            Self::ForeignCode(e) => Some(e),
            Self::Preload(e) => Some(e),
            _ => None,
        }
    }
}

/// Why a [`ForkServer`](crate::ForkServer) could not load what its children are to share.
#[derive(Debug)]
#[non_exhaustive]
pub enum PreloadError {
    /// The server ended before its loader returned, as the error says: the loader panicked, called `exit`, or crashed; or the
    /// server was killed.
    Ended(Box<ProcessError>),
    /// The loader did not return in time. The server has been killed.
    TimedOut {
        /// How long it had.
        limit: Duration,
    },
    /// The loader left threads running, which no child would have. It must join them.
    Threads {
        /// Their names, cut to 15 bytes by the kernel.
        names: Vec<String>,
    },
}

impl fmt::Display for PreloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(e) => write!(f, "a fork server ended while it loaded: {e}"),
            Self::TimedOut { limit } => write!(f, "a fork server's loader did not return within {limit:?}"),
            Self::Threads { names } => {
                write!(
                    f,
                    "a fork server's loader left threads running, which no child would have: {}",
                    names.join(", ")
                )
            }
        }
    }
}

impl std::error::Error for PreloadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Ended(e) => Some(&**e),
            _ => None,
        }
    }
}

impl From<PreloadError> for ProcessError {
    fn from(e: PreloadError) -> Self {
        Self::Preload(e)
    }
}
