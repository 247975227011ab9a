//! What can go wrong with a task, and with a pool.

use std::{error, fmt, io, mem, sync::Arc};

use proc_core::{Backtrace, CrashReport, Panic, ProcessError};
use serde::{Serialize, Serializer};

/// Why one task has no result. It concerns that task alone; its pool goes on.
///
/// It can be serialised, for a log or an answer: by its variant's name and fields, with backtraces, crash reports and the
/// errors of pools as text. That looks symbols up, as their `Display` does. It is not read back.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub enum TaskError {
    /// The function panicked. Its worker lives on.
    Panicked {
        /// The panic's message; for a payload that is no text, a note that says so.
        message: String,
        /// `file:line:column`; empty if unknown.
        location: String,
        /// Where it came from, if `RUST_BACKTRACE` asks for it.
        #[serde(serialize_with = "as_text")]
        backtrace: Backtrace,
    },
    /// The worker process died while it was running this task, which may have had effects.
    /// [`Stats::deaths`](crate::Stats::deaths) tells which task each dead worker was running.
    WorkerDied {
        /// The worker's pid.
        pid: u32,
        /// The signal that killed it; `None` if it exited by itself.
        signal: Option<i32>,
        /// What it exited with; `None` if a signal killed it.
        code: Option<i32>,
        /// What it told of its end, if that was a fault of its own.
        #[serde(serialize_with = "as_text_if_any")]
        crash: Option<CrashReport>,
        /// The task's [`name`](crate::TaskBuilder::name), if it has one.
        task: Option<String>,
    },
    /// The task ran longer than it [may](crate::ProcessPoolBuilder::task_timeout), and was killed with its worker. Or, from
    /// [`get_timeout`](crate::Task::get_timeout), the *wait* was too short: then [`ready`](crate::Task::ready) is false.
    TimedOut,
    /// The task took more memory than its [limit](crate::ProcessPoolBuilder::memory_limit).
    MemoryLimit,
    /// The task was cancelled, or its pool terminated, before it had a result.
    Cancelled,
    /// The task was running at the death of a worker each time it was tried; it is not tried again.
    Quarantined,
    /// Of a pool over several machines: each machine that was given the task was lost before it had told a result. The task may
    /// have had effects.
    HostLost {
        /// How many times it was given to a machine.
        n_given: u64,
    },
    /// The result did not decode as what the function returns.
    Decode(String),
    /// The arguments, or the result, did not encode.
    Encode(String),
    /// The function is not part of this program's own code, so that no other process can find it.
    ForeignCode,
    /// The pool was closed before the task was given to it.
    Closed,
    /// The pool cannot run anything any more.
    Broken(#[serde(serialize_with = "as_text")] PoolError),
    /// The result has been taken already.
    Taken,
}

fn as_text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn as_text_if_any<S: Serializer>(value: &Option<impl fmt::Display>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(ToString::to_string).serialize(serializer)
}

impl From<Panic> for TaskError {
    fn from(panic: Panic) -> Self {
        Self::Panicked { message: panic.message, location: panic.location, backtrace: panic.backtrace }
    }
}

/// Two are equal if they are of one kind and say the same; backtraces are not compared.
impl PartialEq for TaskError {
    fn eq(&self, other: &Self) -> bool {
        mem::discriminant(self) == mem::discriminant(other) && self.to_string() == other.to_string()
    }
}

impl Eq for TaskError {}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked { message, location, .. } if location.is_empty() => write!(f, "task panicked: {message}"),
            Self::Panicked { message, location, .. } => write!(f, "task panicked at {location}: {message}"),
            Self::WorkerDied { pid, signal, code, crash, task } => {
                match (signal, code) {
                    (Some(signal), _) => write!(f, "worker {pid} was killed by signal {signal}")?,
                    (None, Some(code)) => write!(f, "worker {pid} exited with code {code}")?,
                    (None, None) => write!(f, "worker {pid} exited")?,
                }
                match task {
                    Some(name) => write!(f, " while running the task {name:?}")?,
                    None => f.write_str(" while running the task")?,
                }
                crash.as_ref().map_or(Ok(()), |crash| write!(f, ": {}", crash.summary()))
            }
            Self::TimedOut => f.write_str("timed out"),
            Self::MemoryLimit => f.write_str("task exceeded its memory limit"),
            Self::Cancelled => f.write_str("task was cancelled"),
            Self::Quarantined => f.write_str("task is quarantined: its worker died each time it was tried"),
            Self::HostLost { n_given } => {
                write!(f, "each machine that was given the task was lost, {n_given} times in all")
            }
            Self::Decode(why) => write!(f, "result does not decode: {why}"),
            Self::Encode(why) => write!(f, "value cannot be sent: {why}"),
            Self::ForeignCode => f.write_str("the function lies outside this program's own code"),
            Self::Closed => f.write_str("pool is closed"),
            Self::Broken(why) => write!(f, "pool is broken: {why}"),
            Self::Taken => f.write_str("the task's result has been taken already"),
        }
    }
}

impl error::Error for TaskError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Broken(why) => Some(why),
            _ => None,
        }
    }
}

/// Why a pool could not start, or cannot go on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PoolError {
    /// A worker could not be started.
    Start(Arc<ProcessError>),
    /// The initializer failed in a worker.
    Initializer(String),
    /// Workers died faster than they may be replaced; the text tells of the last death.
    RestartStorm(String),
    /// The setting of this name was 0.
    Setting(&'static str),
    /// An option of the builder given to [`worker`](crate::ProcessPoolBuilder::worker) is none for a worker.
    Worker {
        /// The option's name.
        option: &'static str,
        /// Why it is none.
        why: &'static str,
    },
    /// The machines that a pool consists of, or what they are reached by, cannot be had.
    Cluster(String),
    /// The pool was closed or terminated before.
    Closed,
    /// [`join`](crate::ThreadPool::join) was called on a pool that is neither closed nor terminated.
    StillOpen,
}

/// As for [`TaskError`].
impl PartialEq for PoolError {
    fn eq(&self, other: &Self) -> bool {
        mem::discriminant(self) == mem::discriminant(other) && self.to_string() == other.to_string()
    }
}

impl Eq for PoolError {}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(e) => write!(f, "a worker cannot be started: {e}"),
            Self::Initializer(why) => write!(f, "initializer failed: {why}"),
            Self::RestartStorm(why) => write!(f, "workers die faster than they may be replaced: {why}"),
            Self::Setting(name) => write!(f, "{name} must not be 0"),
            Self::Worker { option, why } => write!(f, "a worker cannot be given {option}: {why}"),
            Self::Cluster(why) => write!(f, "no cluster: {why}"),
            Self::Closed => f.write_str("pool is closed"),
            Self::StillOpen => f.write_str("pool is still open: close or terminate it first"),
        }
    }
}

impl error::Error for PoolError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Start(e) => Some(&**e),
            _ => None,
        }
    }
}

impl PoolError {
    /// Refuses a setting that is 0.
    pub(crate) fn refuse_zero(name: &'static str, value: Option<usize>) -> Result<(), Self> {
        if value == Some(0) { Err(Self::Setting(name)) } else { Ok(()) }
    }

    /// Whether it would come each time: a worker cannot be started as it was asked for.
    pub(crate) fn is_for_good(&self) -> bool {
        match self {
            Self::Start(why) => {
                matches!(&**why, ProcessError::Start { source, .. } if source.kind() == io::ErrorKind::InvalidInput)
            }
            _ => false,
        }
    }
}

impl From<io::Error> for PoolError {
    fn from(e: io::Error) -> Self {
        Self::Start(Arc::new(ProcessError::Start { operation: "make what a worker needs".into(), source: e }))
    }
}
