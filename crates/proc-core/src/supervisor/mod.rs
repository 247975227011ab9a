//! Supervisors, after Erlang's: processes that are started in order, restarted when they die, and stopped in reverse.
//!
//! ```
//! use proc_core::supervisor::{ChildSpec, Event, Restart, Strategy, Supervisor};
//! use std::{process::ExitCode, time::Duration};
//!
//! fn flaky() -> u8 {
//!     std::process::exit(1)
//! }
//!
//! let supervisor = Supervisor::builder()
//!     .strategy(Strategy::OneForOne)
//!     .intensity(2, Duration::from_secs(60))
//!     .child(ChildSpec::new("flaky", flaky, ()).restart(Restart::Transient))
//!     .start()?;
//! // Started, and restarted twice; with the third failure the supervisor gives up.
//! assert!(supervisor.wait().is_err());
//! # Ok::<(), proc_core::supervisor::SupervisorError>(())
//! ```

mod run;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    io::{PipeWriter, Write},
    ops::Deref,
    process::ExitStatus,
    sync::{
        Arc, Condvar, Mutex, PoisonError, Weak,
        mpsc::{Receiver, Sender, channel, sync_channel},
    },
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{ProcessError, ProcessHandle, Target, builder::Builder, process::Process};
use kernel::{fds, fork_local::ForkLocal, helper};
use run::{Command, Run};

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
    id: String,
    start: Start,
    restart: Restart,
    shutdown: Shutdown,
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

/// What a supervisor is to do.
#[derive(Debug)]
#[must_use = "a builder does nothing before `start`"]
pub struct SupervisorBuilder {
    strategy: Strategy,
    intensity: usize,
    period: Duration,
    children: Vec<ChildSpec>,
}

impl SupervisorBuilder {
    /// Which children are restarted when one has died.
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// If there are more than `restarts` within `period`, the supervisor stops all children and gives up. One in five
    /// seconds unless told otherwise.
    pub fn intensity(mut self, restarts: usize, period: Duration) -> Self {
        (self.intensity, self.period) = (restarts, period);
        self
    }

    /// Adds a child; they are started in this order.
    pub fn child(mut self, spec: ChildSpec) -> Self {
        self.children.push(spec);
        self
    }

    /// Starts all children, and then watches over them on a helper thread.
    ///
    /// # Errors
    /// If a child cannot be started, or the thread; the children before it are stopped then. If two have the same id.
    pub fn start(self) -> Result<Supervisor, SupervisorError> {
        let (woken, wake) = fds::pipe().map_err(SupervisorError::System)?;
        let (report, events) = sync_channel(LONGEST_BACKLOG);
        let (send, commands) = channel();
        let shared =
            Arc::new(Shared { wake, commands: Mutex::new(send), end: Mutex::default(), ended: Condvar::new() });
        let mut run = Run::new(self.strategy, self.intensity, self.period, report, Arc::clone(&shared));
        for spec in self.children {
            if let Err(e) = run.start_child(spec) {
                run.stop_all();
                return Err(e);
            }
        }
        lock(ALL.get()).push(Arc::downgrade(&shared));
        let run = Arc::new(Mutex::new(Some(run)));
        let started = helper::spawn("proc-core-superv", {
            let run = Arc::clone(&run);
            move || {
                let run = lock(&run).take();
                run.expect("taken by nobody else once the thread runs").run(woken, &commands);
            }
        });
        if let Err(e) = started {
            lock(&run).take().into_iter().for_each(|mut run| run.stop_all());
            return Err(SupervisorError::System(e));
        }
        Ok(Supervisor { shared, events })
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
    /// It ended by itself, or was killed by somebody else.
    Exited {
        /// The child.
        id: String,
        /// What was its pid.
        pid: u32,
        /// How; `None` if somebody else has reaped it.
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

/// What [`Supervisor::which_children`] tells of a child.
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

/// Events that nobody receives are kept up to this number; later ones are dropped.
const LONGEST_BACKLOG: usize = 1 << 16;

/// Watches over its children. When it is dropped they are stopped, in the background.
///
/// # Crash safety
/// A child that is killed, on whatever line, is treated as its [`Restart`] says. If this process is killed, the children
/// die with it, and are not restarted. At its orderly exit they are stopped in reverse order of their start.
#[derive(Debug)]
#[must_use = "a dropped supervisor stops its children"]
pub struct Supervisor {
    shared: Arc<Shared>,
    events: Receiver<Event>,
}

#[derive(Debug)]
struct Shared {
    wake: PipeWriter,
    commands: Mutex<Sender<Command>>,
    end: Mutex<Option<End>>,
    ended: Condvar,
}

/// How a supervisor ended.
#[derive(Clone, Debug)]
enum End {
    Stopped,
    TooManyRestarts { id: String },
}

/// Those of this process.
static ALL: ForkLocal<Mutex<Vec<Weak<Shared>>>> = ForkLocal::new();

impl Supervisor {
    /// A supervisor that is told what to do before it starts.
    pub fn builder() -> SupervisorBuilder {
        let period = Duration::from_secs(5);
        SupervisorBuilder { strategy: Strategy::default(), intensity: 1, period, children: Vec::new() }
    }

    /// Its children, in the order of their start.
    ///
    /// # Errors
    /// [`SupervisorError::Ended`].
    pub fn which_children(&self) -> Result<Vec<ChildInfo>, SupervisorError> {
        self.shared.ask(Command::Which)
    }

    /// Adds a child and starts it.
    ///
    /// # Errors
    /// If it cannot be started, or its id is taken; [`SupervisorError::Ended`].
    pub fn start_child(&self, spec: ChildSpec) -> Result<(), SupervisorError> {
        self.shared.ask(|reply| Command::Start(spec, reply))?
    }

    /// Stops a child, as its [`Shutdown`] says, and leaves it so until [`restart_child`](Self::restart_child). Returns
    /// when it has ended.
    ///
    /// # Errors
    /// If there is no child of that id; [`SupervisorError::Ended`].
    pub fn terminate_child(&self, id: impl Into<String>) -> Result<(), SupervisorError> {
        self.shared.ask(|reply| Command::Terminate(id.into(), reply))?
    }

    /// Starts a child that does not run. Does nothing if it does.
    ///
    /// # Errors
    /// If it cannot be started, or there is no child of that id; [`SupervisorError::Ended`].
    pub fn restart_child(&self, id: impl Into<String>) -> Result<(), SupervisorError> {
        self.shared.ask(|reply| Command::Restart(id.into(), reply))?
    }

    /// What has happened to the children, in order, from their first start on. Up to 65,536 events are kept.
    pub fn events(&self) -> &Receiver<Event> {
        &self.events
    }

    /// Stops all children, the last one first, each as its [`Shutdown`] says. Returns when all have ended.
    ///
    /// # Errors
    /// [`SupervisorError::TooManyRestarts`] if it had given up before.
    pub fn stop(self) -> Result<(), SupervisorError> {
        self.shared.stop();
        self.wait()
    }

    /// Waits until the supervisor has ended: because there were too many restarts, or because nothing is left to watch
    /// over, which happens if no child is permanent.
    ///
    /// # Errors
    /// [`SupervisorError::TooManyRestarts`].
    pub fn wait(&self) -> Result<(), SupervisorError> {
        self.shared.wait()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Shared {
    fn stop(&self) {
        // One that has ended has stopped already.
        let _ = lock(&self.commands).send(Command::Stop);
        let _ = (&self.wake).write(&[0]);
    }

    fn ask<T>(&self, command: impl FnOnce(Sender<T>) -> Command) -> Result<T, SupervisorError> {
        let (reply, answer) = channel();
        let sent = lock(&self.commands).send(command(reply));
        let _ = (&self.wake).write(&[0]);
        sent.map_err(|_| SupervisorError::Ended)?;
        answer.recv().map_err(|_| SupervisorError::Ended)
    }

    fn wait(&self) -> Result<(), SupervisorError> {
        let mut end = lock(&self.end);
        loop {
            match &*end {
                Some(End::Stopped) => return Ok(()),
                Some(End::TooManyRestarts { id }) => return Err(SupervisorError::TooManyRestarts { id: id.clone() }),
                None => end = self.ended.wait(end).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// Stops the children of all supervisors; for the end of the process.
pub(crate) fn stop_all() {
    let all: Vec<_> = std::mem::take(&mut *lock(ALL.get())).iter().filter_map(Weak::upgrade).collect();
    all.iter().for_each(|shared| shared.stop());
    for shared in all {
        let _ = shared.wait();
    }
}

/// Why a supervisor was not started, or has ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum SupervisorError {
    /// There were more restarts than its intensity allows; all children have been stopped.
    TooManyRestarts {
        /// The child whose death was one too many.
        id: String,
    },
    /// A child could not be started.
    NotStarted {
        /// The child.
        id: String,
        /// Why.
        source: Box<ProcessError>,
    },
    /// There is another child of that id.
    AlreadyPresent {
        /// The id.
        id: String,
    },
    /// There is no child of that id.
    NotFound {
        /// The id.
        id: String,
    },
    /// The supervisor has ended.
    Ended,
    /// The system did not give what the supervisor itself needs.
    System(std::io::Error),
}

impl fmt::Display for SupervisorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyRestarts { id } => write!(f, "too many restarts, the last one because of {id}"),
            Self::NotStarted { id, source } => write!(f, "child {id} cannot be started: {source}"),
            Self::AlreadyPresent { id } => write!(f, "there is a child {id} already"),
            Self::NotFound { id } => write!(f, "there is no child {id}"),
            Self::Ended => f.write_str("the supervisor has ended"),
            Self::System(e) => write!(f, "cannot start a supervisor: {e}"),
        }
    }
}

impl std::error::Error for SupervisorError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotStarted { source, .. } => Some(&**source),
            Self::System(e) => Some(e),
            _ => None,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
