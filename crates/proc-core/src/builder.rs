//! Processes with a name, limits, streams, and more.

use std::{
    ffi::OsString,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    path::PathBuf,
    process::Stdio,
    sync::Arc,
};

use serde::{Serialize, de::DeserializeOwned};

#[cfg(feature = "confine")]
use crate::confine::{Asked, Confined, Confinement, may_start_processes};
#[cfg(feature = "log")]
use crate::logs::LogOverflow;
use crate::{
    children,
    crash::out_of_memory,
    current::ProcessIdentity,
    error::ProcessError,
    function::{Function, Target},
    image::Image,
    lock::lock,
    logs::{Conduit, Wish},
    options::{Options, Resource},
    output::{Capture, LineFn},
    process::{Process, ProcessHandle, Runnable},
    report::Report,
    start::{
        self, StartMethod, Started,
        forkserver::{self, Registering, server::ForkServer},
        plain::Plain,
        request::Request,
        spawn,
        stdio::{Stream, Streams},
    },
};
use kernel::handover;

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

    /// Has it started by this server, whose memory it shares. Of this and [`start_method`](Self::start_method), the last
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

    /// Has `f` called with its name and each line that it writes to its standard output. Of this and
    /// [`stdout`](Self::stdout), the last call counts.
    ///
    /// `f` is called by a thread of this crate's, or by who waits for the process: all lines have come before `join` or `wait`
    /// returns (unless `f` blocks: that is waited for for a second). Lines are without their end, and as UTF-8, with a
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

    /// Whether its records (of the crate `log`) come out of this process's logger; true by default, if this process has one
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
    /// panic). A logger that a constructor has set before is kept, and so is, by [`StartMethod::Fork`], this process's. All that goes for a subscriber, too. What a
    /// bare `fork(2)` in the child logs goes nowhere.
    #[cfg(feature = "log")]
    #[doc(alias = "get_logger")]
    #[doc(alias = "QueueHandler")]
    pub fn forward_logs(mut self, wanted: bool) -> Self {
        self.logs.is_unwanted = !wanted;
        self
    }

    /// What becomes of its records while this process takes them more slowly than they come; by default each waits for a
    /// second at most.
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

    /// Has the function say when its confinement, if it has one, comes into force: by [`enter_confinement`](crate::enter_confinement).
    #[doc(hidden)]
    pub fn defer_confinement(#[allow(unused_mut, reason = "without the feature")] mut self) -> Self {
        #[cfg(feature = "confine")]
        if let Some(asked) = &mut self.options.confinement {
            asked.is_deferred = true;
        }
        self
    }

    /// Starts it: [`Process::spawn`].
    ///
    /// # Errors
    /// As there.
    pub fn spawn<F, A>(self, target: F, args: A) -> Result<Process<F::Output>, ProcessError>
    where
        F: Target<A>,
        A: Serialize + DeserializeOwned,
        F::Output: Serialize + DeserializeOwned,
    {
        let function = Function::of(target).map_err(ProcessError::ForeignCode)?;
        let method = self.start_method.unwrap_or_else(start::start_method);
        if method == StartMethod::Fork {
            return self.fork(move || target.call(args));
        }
        let parcel = handover::pack(&args).map_err(ProcessError::Arguments)?;
        let own = self.fork_server.as_ref().map(ForkServer::slot);
        let slot = own.as_deref().unwrap_or_else(|| forkserver::default_slot());
        self.launch(method, |identity, options, of_options| {
            let fingerprint = Image::get().fingerprint;
            let request = Request { fingerprint, function, identity: identity.clone(), options: options.clone() };
            let mut packed = Vec::new();
            request.put(&mut packed);
            let of_options = of_options.iter().map(AsRawFd::as_raw_fd);
            let handed_over = parcel.fds();
            let fds: Vec<RawFd> = of_options.chain(handed_over.iter().map(AsRawFd::as_raw_fd)).collect();
            let body = [&packed[..], parcel.bytes()];
            if method != StartMethod::Spawn
                && let Some((started, report, registering)) = forkserver::start(slot, &body, &fds)?
            {
                return Ok((started, report, Some(registering)));
            }
            if own.is_some() {
                return Err(forkserver::no_siblings());
            }
            spawn::start(&body, &fds).map(|(started, report)| (started, report, None))
        })
    }

    /// Starts it: [`Process::start`].
    ///
    /// # Errors
    /// As there.
    pub fn start<T>(self, object: T) -> Result<Process<T::Output>, ProcessError>
    where
        T: Runnable + Serialize + DeserializeOwned + 'static,
        T::Output: Serialize + DeserializeOwned,
    {
        self.spawn(T::run, (object,))
    }

    /// Starts it: [`Process::fork`].
    ///
    /// # Errors
    /// As there.
    pub fn fork<F, R>(self, target: F) -> Result<Process<R>, ProcessError>
    where
        F: FnOnce() -> R,
        R: Serialize + DeserializeOwned,
    {
        self.launch(StartMethod::Fork, |identity, options, of_options| {
            let (started, report) = start::fork::start(identity, options, of_options, target)?;
            Ok((started, report, None))
        })
    }

    /// Whether this process may start one, and what will hold for it.
    #[cfg(feature = "confine")]
    fn check_confinement(&mut self) -> Result<Option<Confined>, ProcessError> {
        if !may_start_processes() {
            return Err(ProcessError::Confined);
        }
        let held = self.options.confinement.as_mut().map(Asked::check).transpose();
        held.map_err(|missing| ProcessError::CannotConfine { missing })
    }

    /// Makes what every process has, starts it by `start`, and takes note of it.
    fn launch<'a, R>(
        mut self,
        method: StartMethod,
        start: impl FnOnce(
            &ProcessIdentity,
            &Options,
            &[BorrowedFd<'_>],
        ) -> Result<(Started, Report, Option<Registering<'a>>), ProcessError>,
    ) -> Result<Process<R>, ProcessError> {
        #[cfg(feature = "confine")]
        let confined = self.check_confinement()?;
        if let Some(key) = self.options.impossible_variable() {
            let operation = format!("set the environment variable {key:?}");
            return Err(ProcessError::Start { operation, source: std::io::ErrorKind::InvalidInput.into() });
        }
        let _starting = crate::reaper::starting();
        out_of_memory::begin();
        let identity = ProcessIdentity::of_child(self.name, self.daemon);
        let mut captures = [None, None];
        for (i, line) in self.lines.into_iter().enumerate() {
            let Some(line) = line else { continue };
            let (capture, end) = Capture::open(line)
                .map_err(|source| ProcessError::Start { operation: "make a pipe for its output".into(), source })?;
            captures[i] = Some(capture);
            self.streams[i + 1] = Some(Stream::Opened(Arc::new(end)));
        }
        let mut streams = Streams::open(self.streams)
            .map_err(|source| ProcessError::Start { operation: "open the standard streams".into(), source })?;
        self.options.streams = streams.given;
        let conduit = self
            .logs
            .open(method == StartMethod::Fork)
            .map_err(|source| ProcessError::Start { operation: "make what its log goes into".into(), source })?;
        let (terms, conduit) = conduit.unzip();
        self.options.logs = terms;
        let of_logs = conduit.iter().flat_map(Conduit::fds);
        let of_options: Vec<_> = streams.theirs.iter().map(AsFd::as_fd).chain(of_logs).collect();
        let (started, report, _registering) = start(&identity, &self.options, &of_options)?;
        let tap = conduit.map(|conduit| conduit.connect(&identity.name, started.pid, self.logs.is_prefixed()));
        let captures = captures.map(|capture| capture.map(|capture| capture.connect(&identity.name)));
        let child = children::register(started, &identity, Some(report), self.options.own_group, (tap, captures));
        *lock(&child.pipes) = std::mem::take(&mut streams.ours);
        #[cfg(feature = "confine")]
        if let Some(confined) = confined {
            let _ = child.confined.set(confined);
        }
        Ok(Process::new(ProcessHandle(child)))
    }
}
