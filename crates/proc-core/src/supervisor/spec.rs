//! What a supervisor is told of its children, and what it tells.

use std::{fmt, ops::Deref, process::ExitStatus, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use crate::{ProcessError, ProcessHandle, Target, builder::Builder, process::Process};

/// Which children are restarted when one has died.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// That one.
    #[default]
    OneForOne,
    /// All: the others are stopped, in reverse order of their start, and all are started again in order.
    OneForAll,
    /// That one and those that were started after it.
    RestForOne,
}

/// Whether a child is restarted when it has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// If it ended abnormally: by a panic, a signal, an exit code other than 0.
    Transient,
    /// Never; also not when another's death takes it along.
    Temporary,
}

/// How a child is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// SIGKILL.
    BrutalKill,
    /// SIGTERM, and SIGKILL if it still runs after this time. Five seconds unless told otherwise.
    Timeout(Duration),
    /// SIGTERM, and as long as it takes.
    Infinity,
}

type Start = Box<dyn Fn() -> Result<Box<dyn Deref<Target = ProcessHandle> + Send>, ProcessError> + Send>;

/// A child to be: how it is started, when it is restarted, and how it is stopped.
pub struct ChildSpec {
    pub(super) id: String,
    pub(super) start: Start,
    pub(super) restart: Restart,
    pub(super) shutdown: Shutdown,
}

impl ChildSpec {
    /// A process of that name that calls `target` with `args`, as [`Process::spawn`] does.
    pub fn new<F, A>(id: impl Into<String>, target: F, args: A) -> Self
    where
        F: Target<A> + Send,
        F::Output: Serialize + DeserializeOwned + 'static,
        A: Serialize + DeserializeOwned + Clone + Send + 'static,
    {
        let id: String = id.into();
        let name = id.clone();
        // Terminated, not waited for, if this process exits before the supervisor gets to it.
        Self::from_fn(id, move || Builder::new().name(name.as_str()).daemon(true).spawn(target, args.clone()))
    }

    /// A process that `start` starts, each time anew.
    pub fn from_fn<R: 'static>(
        id: impl Into<String>,
        start: impl Fn() -> Result<Process<R>, ProcessError> + Send + 'static,
    ) -> Self {
        Self {
            id: id.into(),
            start: Box::new(move || Ok(Box::new(start()?))),
            restart: Restart::default(),
            shutdown: Shutdown::Timeout(Duration::from_secs(5)),
        }
    }

    /// When it is restarted; always by default.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// How it is stopped.
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, restart, shutdown, .. } = self;
        f.debug_struct("ChildSpec").field("id", id).field("restart", restart).field("shutdown", shutdown).finish()
    }
}

/// Something that happened to a child.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// It was started.
    Started {
        /// The child.
        id: String,
        /// Its pid.
        pid: u32,
    },
    /// It ended by itself, or another process killed it.
    Exited {
        /// The child.
        id: String,
        /// What was its pid.
        pid: u32,
        /// How; `None` if another part of the program has reaped it.
        status: Option<ExitStatus>,
    },
    /// The supervisor stopped it.
    Stopped {
        /// The child.
        id: String,
        /// What was its pid.
        pid: u32,
    },
    /// It could not be started again.
    NotStarted {
        /// The child.
        id: String,
        /// Why.
        reason: String,
    },
}

/// What [`Supervisor::which_children`](super::Supervisor::which_children) tells of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildInfo {
    /// Its id.
    pub id: String,
    /// Its pid; `None` if it does not run.
    pub pid: Option<u32>,
    /// How often it has been started again.
    pub restarts: u64,
}
