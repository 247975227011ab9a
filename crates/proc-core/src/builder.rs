//! Processes with a name, limits, streams, and more.

use std::{ffi::OsString, path::PathBuf, process::Stdio};

use serde::{Serialize, de::DeserializeOwned};

#[cfg(feature = "confine")]
use crate::confine::{Asked, Confinement};
#[cfg(feature = "log")]
use crate::logs::LogOverflow;
use crate::{
    error::ProcessError,
    function::Target,
    logs::Wish,
    options::{Options, Resource},
    output::LineFn,
    process::{Process, Runnable},
    start::{StartMethod, forkserver::server::ForkServer, stdio::Stream},
};

/// Says what a process is to be like before it is started.
///
/// What cannot be set up in the child (a directory that does not exist, a limit that is not allowed) is reported by
/// its `join`, as [`ProcessError::Setup`]; the function does not run then.
///
/// # Examples
/// ```
/// use std::process::Stdio;
/// use proc_core::{Process, Resource, StartMethod};
///
/// fn work() -> String {
///     std::env::var("K").unwrap_or_default()
/// }
///
/// let process = Process::builder()
///     .name("clock").daemon(true).start_method(StartMethod::Spawn)
///     .env("K", "V").current_dir("/").stdout(Stdio::null())
///     .limit(Resource::OpenFiles, 64).nice(5)
///     .spawn(work, ())?;
/// assert_eq!((process.name(), process.is_daemon()), ("clock", true));
/// assert_eq!(process.join()?, "V");
/// # Ok::<(), proc_core::ProcessError>(())
/// ```
#[derive(Debug, Default)]
#[must_use = "a builder starts nothing until `spawn`, `start` or `fork`"]
pub struct Builder {
    pub(crate) name: Option<String>,
    pub(crate) daemon: bool,
    pub(crate) start_method: Option<StartMethod>,
    pub(crate) fork_server: Option<ForkServer>,
    pub(crate) options: Options,
    pub(crate) streams: [Option<Stream>; 3],
    /// For standard output and standard error.
    pub(crate) lines: [Option<LineFn>; 2],
    pub(crate) logs: Wish,
}

impl<R: Serialize + DeserializeOwned> Process<R> {
    /// Starts a process that calls `target` with `args`, by the default start method.
    ///
    /// `target` is any function of 0 to 8 arguments, or a closure that captures nothing; `args` is the tuple of its
    /// arguments, which are handed over (handles and their descriptors included) and dropped here. Blocks until the
    /// process exists, not until it runs.
    ///
    /// # Errors
    /// If an argument cannot be handed over or the process cannot be made; then nothing runs.
    pub fn spawn<F, A>(target: F, args: A) -> Result<Self, ProcessError>
    where
        F: Target<A, Output = R>,
        A: Serialize + DeserializeOwned,
    {
        Builder::new().spawn(target, args)
    }

    /// Starts a process that runs `object`, handed over: "a process as a type".
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn start<T>(object: T) -> Result<Self, ProcessError>
    where
        T: Runnable<Output = R> + Serialize + DeserializeOwned + 'static,
    {
        Builder::new().start(object)
    }

    /// Starts a process by forking this one; it runs `target`, captures and all.
    ///
    /// # Errors
    /// [`ProcessError::Multithreaded`] if this process has other threads (helper threads of this crate do not count):
    /// whatever lock one of them holds would stay locked in the child for ever.
    pub fn fork<F: FnOnce() -> R>(target: F) -> Result<Self, ProcessError> {
        Builder::new().fork(target)
    }
}

impl Process<()> {
    /// A builder, for a process with a name, limits, streams and so on.
    pub fn builder() -> Builder {
        Builder::new()
    }
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Its name; `/proc/PID/comm` shows the first 15 bytes. `Process-1`, `Process-2`, … by default.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Whether it is terminated (SIGTERM, two seconds, SIGKILL) instead of waited for when this process exits.
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = daemon;
        self
    }

    /// How it is started.
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.start_method = Some(method);
        self.fork_server = None;
        self
    }

    /// Starts it by this server, whose memory it shares. Of this and [`start_method`](Self::start_method), the last
    /// call counts.
    pub fn fork_server(mut self, server: &ForkServer) -> Self {
        self.start_method = Some(StartMethod::ForkServer);
        self.fork_server = Some(server.clone());
        self
    }

    /// Sets an environment variable. A start with an empty name, with `=` or a NUL in it, or with a NUL in the value is an
    /// error.
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.options.env.push((key.into(), Some(value.into())));
        self
    }

    /// Removes an environment variable.
    pub fn env_remove(mut self, key: impl Into<OsString>) -> Self {
        self.options.env.push((key.into(), None));
        self
    }

    /// Removes all environment variables, but those set here.
    pub fn env_clear(mut self) -> Self {
        self.options.clear_env = true;
        self.options.env.clear();
        self
    }

    /// Its working directory.
    #[doc(alias = "cwd")]
    pub fn current_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.options.current_dir = Some(dir.into());
        self
    }

    /// Its standard input; this process's own by default. For a pipe see [`take_stdin`](crate::ProcessHandle::take_stdin).
    pub fn stdin(mut self, stream: impl Into<Stdio>) -> Self {
        self.streams[0] = Some(Stream::Asked(stream.into()));
        self
    }

    /// Its standard output.
    pub fn stdout(mut self, stream: impl Into<Stdio>) -> Self {
        self.streams[1] = Some(Stream::Asked(stream.into()));
        self.lines[0] = None;
        self
    }

    /// Its standard error.
    pub fn stderr(mut self, stream: impl Into<Stdio>) -> Self {
        self.streams[2] = Some(Stream::Asked(stream.into()));
        self.lines[1] = None;
        self
    }

    /// Calls `f` with its name and each line that it writes to its standard output. Of this and
    /// [`stdout`](Self::stdout), the last call counts.
    ///
    /// A thread of this crate calls `f`, or one that waits for the process: all lines have come before `join` or `wait`
    /// returns (unless `f` blocks: they wait a second for that). Lines are without their end, and as UTF-8, with a
    /// replacement for what is none; one of more than 64 KiB comes in parts. One line is given at a time, of all processes
    /// whose lines or records come here. While `f` blocks, none of the others' come, each `join` and each death of a pool's
    /// worker waits for it for a second, and a process waits once its pipe is full: let it be quick, or hand the line on.
    pub fn stdout_lines(mut self, f: impl Fn(&str, &str) + Send + Sync + 'static) -> Self {
        self.lines[0] = Some(LineFn::new(f));
        self.streams[1] = None;
        self
    }

    /// As [`stdout_lines`](Self::stdout_lines), of its standard error. The last of it, up to 4 KiB, is in the
    /// [`CrashReport`](crate::CrashReport) if it crashes.
    pub fn stderr_lines(mut self, f: impl Fn(&str, &str) + Send + Sync + 'static) -> Self {
        self.lines[1] = Some(LineFn::new(f));
        self.streams[2] = None;
        self
    }

    /// Limits a resource, softly and hard.
    #[doc(alias = "setrlimit")]
    pub fn limit(mut self, resource: Resource, limit: u64) -> Self {
        self.options.limits.push((resource, limit));
        self
    }

    /// Its nice value, from -20 (first) to 19 (last).
    pub fn nice(mut self, nice: i32) -> Self {
        self.options.nice = Some(nice);
        self
    }

    /// The CPUs that it may run on, numbered from 0.
    #[doc(alias = "sched_setaffinity")]
    pub fn cpu_affinity(mut self, cpus: impl IntoIterator<Item = usize>) -> Self {
        self.options.cpus = cpus.into_iter().collect();
        self
    }

    /// Makes it the leader of a process group. `terminate`, `kill` and `signal` then reach the whole group: it and
    /// all that it started, except what made groups of its own. A terminal's Ctrl-C no longer reaches it.
    #[doc(alias = "kill_tree")]
    #[doc(alias = "setpgid")]
    pub fn process_group(mut self) -> Self {
        self.options.own_group = true;
        self
    }

    /// Whether the kernel kills it when this process dies; true by default.
    ///
    /// The link is a descriptor of the child: it is gone after an exec in the child, or when the child closes all its
    /// descriptors.
    #[doc(alias = "detach")]
    #[doc(alias = "PR_SET_PDEATHSIG")]
    pub fn death_link(mut self, linked: bool) -> Self {
        self.options.outlives_owner = !linked;
        self
    }

    /// Whether it leaves a [`CrashReport`](crate::CrashReport) if a fault of its own ends it; true by default.
    #[doc(alias = "faulthandler")]
    pub fn crash_report(mut self, wanted: bool) -> Self {
        self.options.no_crash_report = !wanted;
        self
    }

    /// Whether this process's logger logs its records (of the crate `log`); true by default, if this process has one
    /// ([`log::max_level`] is not `Off`) when the child is started.
    ///
    /// Nothing has to be set up in the child: its logger is one that forwards, and its `max_level` is this process's. Each record
    /// has the key-values `process.name` and `process.pid`, of the process that logged. Records of one child come in their order.
    /// A record is in memory of this process's before `log!` returns, and comes out even if the child is killed then: of a
    /// child that has ended, before `join` or `wait` returns (unless the logger blocks: that is waited for for a second).
    /// Messages are cut at about 32 KiB.
    ///
    /// With the feature `tracing`, so do its events: out of the subscriber that the calling thread has when it starts the child,
    /// with their fields, those two, and `spans`, a text with the names and fields of the child's spans around each
    /// (`request{id=7}:query`). Spans themselves stay in the child.
    ///
    /// A child that sets a logger itself cannot do so a second time: set this to false for it (`env_logger::init` would
    /// panic). A logger that a constructor has set before is kept, and so is, by [`StartMethod::Fork`], this process's. All
    /// that goes for a subscriber, too. What a bare `fork(2)` in the child logs goes nowhere.
    #[cfg(feature = "log")]
    #[doc(alias = "get_logger")]
    #[doc(alias = "QueueHandler")]
    pub fn forward_logs(mut self, wanted: bool) -> Self {
        self.logs.is_unwanted = !wanted;
        self
    }

    /// What becomes of its records while they come faster than this process takes them; by default each waits for a second
    /// at most.
    #[cfg(feature = "log")]
    pub fn log_overflow(mut self, overflow: LogOverflow) -> Self {
        self.logs.overflow = overflow;
        self
    }

    /// Whether the messages of its records begin with its name and pid, for loggers that do not show key-values:
    /// `[Process-1 4711] message`. False by default.
    #[cfg(feature = "log")]
    pub fn log_prefix(mut self, wanted: bool) -> Self {
        self.logs.is_prefixed = wanted;
        self
    }

    /// What it may open, connect to and start, from when it has its handles and before its function is called. Of two calls, the
    /// last one counts.
    ///
    /// A process that cannot be confined so does not run: [`ProcessError::CannotConfine`] of the start if this kernel lacks
    /// what it takes; [`ProcessError::Setup`] of the `join` if a path is not there, or the owner's own sandbox forbids it.
    #[cfg(feature = "confine")]
    #[doc(alias = "sandbox")]
    pub fn confine(mut self, confinement: Confinement) -> Self {
        self.options.confinement = Some(Asked::new(confinement));
        self
    }

    /// Leaves it to the function when its confinement, if it has one, comes into force: by [`enter_confinement`](crate::enter_confinement).
    #[doc(hidden)]
    pub fn defer_confinement(#[allow(unused_mut, reason = "without the feature")] mut self) -> Self {
        #[cfg(feature = "confine")]
        if let Some(asked) = &mut self.options.confinement {
            asked.is_deferred = true;
        }
        self
    }
}
