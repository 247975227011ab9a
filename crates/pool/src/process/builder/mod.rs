//! What a pool is to be like.

mod build;

use std::{fmt, sync::Arc, time::Duration};

use kernel::handover;
use proc_core::{Builder, ForkServer, ForkServerBuilder, StartMethod, Target, function::Function};
use serde::{Serialize, de::DeserializeOwned};

use super::{Affinity, ProcessPool, settings::Settings};
use crate::{PoolError, stream::Cut};

/// Settings of a [`ProcessPool`] to be.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use pool::ProcessPool;
///
/// let pool = ProcessPool::builder()
///     .workers(2)
///     .task_timeout(Duration::from_secs(60)) // of each task's run
///     .retries(1) // of a task whose worker died
///     .memory_limit(1 << 30) // bytes, of each task
///     .build()?;
/// assert_eq!(pool.apply(|n: u64| n + 1, (1,))?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a builder does nothing before `build`"]
pub struct ProcessPoolBuilder {
    settings: Settings,
    worker: Option<Builder>,
    affinity: Option<Affinity>,
    preload: Option<ForkServerBuilder>,
    cut: Cut,
    max_pending: Option<usize>,
    initializer: Result<(), String>,
}

impl ProcessPool {
    /// Starts `n_workers` processes.
    ///
    /// # Errors
    /// If a worker cannot be started.
    pub fn new(n_workers: usize) -> Result<Self, PoolError> {
        Self::builder().workers(n_workers).build()
    }

    /// Settings for a pool.
    pub fn builder() -> ProcessPoolBuilder {
        let builder = ProcessPoolBuilder {
            settings: Settings::default(),
            worker: None,
            affinity: None,
            preload: None,
            cut: Cut::default(),
            max_pending: None,
            initializer: Ok(()),
        };
        builder.initializer(|| (), ())
    }
}

impl ProcessPoolBuilder {
    /// How many worker processes; by default [`cpu_count`](proc_core::cpu_count).
    pub fn workers(mut self, n: usize) -> Self {
        self.settings.n_workers = n;
        self
    }

    /// What the workers' names begin with; by default `pool`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// Makes every worker call `f(args…)` before its first task, also those that replace others.
    ///
    /// If it panics, or its worker dies of it again and again, the pool is broken: [`build`](Self::build) fails, or
    /// later every task does. It may take its time, whatever the [`task_timeout`](Self::task_timeout): `build` waits.
    pub fn initializer<F, A>(mut self, f: F, args: A) -> Self
    where
        F: Target<A>,
        A: Serialize + DeserializeOwned + Send + 'static,
    {
        let target = move |args: A| drop(f.call(args));
        let packed = Function::of(target)
            .map_err(|e| e.to_string())
            .and_then(|f| handover::pack_owned_behind(f.to_bytes().into(), &(args,)).map_err(|e| e.to_string()));
        self.initializer = packed.map(|packed| self.settings.initializer = packed);
        self
    }

    /// Replaces each worker after so many tasks. As in Python a task is what a worker is given at once: of `map` and its
    /// like, a chunk, whose size adapts unless there is a [`chunk_size`](Self::chunk_size).
    #[doc(alias = "maxtasksperchild")]
    pub fn max_tasks_per_child(mut self, n: usize) -> Self {
        self.settings.max_tasks_per_child = Some(n);
        self
    }

    /// Replaces a worker between two tasks when it has more than so many bytes of private memory: a leak is cut off here.
    /// The task that has brought it above ends as ever; what the worker has in hand and not begun goes to others.
    ///
    /// The replacement is started at once, and the old worker ends what it may have begun meanwhile. So the pool does not get
    /// slower, and has for a moment more processes, at most twice its size.
    ///
    /// Private memory is what is in memory, belongs to no file, and is not shared by a mapping: heap, stacks, and pages that
    /// the worker has from its fork server and has not written to. What a program has freed and its allocator has kept counts.
    /// The worker reads it after a task, from `/proc/self/statm`, unless it did in the last 0.2 milliseconds; that takes about
    /// two microseconds. The kernel counts in batches, for each CPU, and may be some hundred KiB behind. If even a fresh worker
    /// has more, each is replaced after its first task.
    #[doc(alias = "max_memory_per_child")]
    pub fn recycle_above(mut self, bytes: u64) -> Self {
        self.settings.recycle_above = Some(bytes);
        self
    }

    /// The longest that a task may run. One that runs longer is killed with its worker, and ends in
    /// [`TaskError::TimedOut`](crate::TaskError::TimedOut); time in the queue does not count. It also makes every item
    /// of `map` and its like a task of its own, unless there is a [`chunk_size`](Self::chunk_size): then the time is
    /// for the chunk. The pool looks at the time while the task runs: a task that has ended before that look keeps its
    /// result.
    pub fn task_timeout(mut self, timeout: Duration) -> Self {
        self.settings.terms.timeout = Some(timeout);
        self
    }

    /// How long a worker may have nothing to do before it leaves; by default for ever. It is started again when there is
    /// a task that would have to wait.
    #[doc(alias = "idle_worker_timeout")]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.settings.idle_timeout = Some(timeout);
        self
    }

    /// How often a task is tried again after the worker that ran it died; by default never: then each task runs at
    /// most once. With retries it runs at least once, and a task that kills its worker every time ends in
    /// [`TaskError::Quarantined`](crate::TaskError::Quarantined).
    pub fn retries(mut self, n: u32) -> Self {
        self.settings.terms.retries = Some(n);
        self
    }

    /// How long to wait before the first retry of a task; by default 10 milliseconds. Doubles each time.
    #[doc(alias = "backoff")]
    pub fn retry_delay(mut self, delay: Duration) -> Self {
        self.settings.retry_delay = delay;
        self
    }

    /// How much private memory a task may take on top of what its worker has. The kernel enforces it while the task
    /// runs; a task in which an allocation of Rust's fails ends in [`TaskError::MemoryLimit`](crate::TaskError::MemoryLimit),
    /// with its worker. A library of C that is refused memory does what it does then; if it calls `abort`, that is
    /// [`TaskError::WorkerDied`](crate::TaskError::WorkerDied). Costs a few microseconds a task.
    ///
    /// The owner looks, too, ten times a second: a task that has raised its worker's limit is killed when the memory that
    /// is its worker's alone has grown by more than the pool's.
    ///
    /// It is `RLIMIT_DATA`, set anew before each task: heap, stacks of threads and private mappings count, touched or
    /// not; shared memory, files, and processes that the task starts do not. Not a control group: that would need one
    /// to be writable, which it seldom is outside containers, and stays behind where its owner is killed; and what
    /// exceeds it is killed, not told that there is no memory, with the worker, whose own memory counts too.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.settings.terms.memory_limit = Some(bytes);
        self
    }

    /// Most tasks of `apply_async` and its like that may be given and have not ended; by default any number. With as many,
    /// `apply_async` blocks until one ends, and [`try_apply_async`](ProcessPool::try_apply_async) gives its task back.
    ///
    /// Maps are not counted: they have their [`window`](Self::window).
    pub fn max_pending(mut self, n_tasks: usize) -> Self {
        self.max_pending = Some(n_tasks);
        self
    }

    /// Calls `load(args…)` once, in a [`ForkServer`] of the pool's own, before there are workers. Tasks find what it
    /// returned with [`preloaded`](proc_core::preloaded()), in memory that all workers share. What it may leave behind and
    /// what happens if it is killed is said there; a failed load is a [`PoolError::Start`] of [`build`](Self::build).
    #[doc(alias = "set_forkserver_preload")]
    pub fn preload<F, A>(mut self, load: F, args: A) -> Self
    where
        F: Target<A>,
        A: Serialize + DeserializeOwned,
        F::Output: Sync + 'static,
    {
        self.preload = Some(ForkServer::builder().preload(load, args));
        self
    }

    /// What every worker is to be like, also those that replace others: environment, directory, streams, limits, nice value,
    /// CPUs, and whatever else a process can be given.
    ///
    /// | of the process's builder | for a worker |
    /// |---|---|
    /// | `env`, `env_remove`, `env_clear`, `current_dir`, `limit`, `nice`, `cpu_affinity`, `crash_report`, `log_overflow`, `log_prefix` | as for any process, before its initializer |
    /// | `forward_logs` | as the pool's own, which counts if both are given |
    /// | `stdin`, `stdout`, `stderr` | opened by [`build`](Self::build), once (`stdout_lines` and `stderr_lines` as for any process); each worker has a copy of the descriptor. A pipe is an error: no process has its other end |
    /// | `confine` | before its initializer, or after it: `confine_after_initializer` (feature `confine`) |
    /// | `start_method`, `fork_server` | as the pool's own; both, or one beside a [`preload`](Self::preload), are an error |
    /// | `daemon`, `process_group` | no effect: every worker ends with its pool, and is the leader of a group |
    /// | `name`, `death_link(false)` | an error: the pool has a [`name`](Self::name), and no worker outlives it |
    ///
    /// The errors are [`PoolError::Worker`] from `build`. What the kernel refuses in the first workers (a directory that
    /// does not exist, a CPU that is not there) is a [`PoolError::Start`] from `build`, of
    /// [`ProcessError::Setup`](proc_core::ProcessError::Setup).
    ///
    /// # Examples
    /// ```
    /// use pool::ProcessPool;
    /// use proc_core::{Process, Resource};
    ///
    /// let worker = Process::builder().env("OMP_NUM_THREADS", "1").nice(5).limit(Resource::CoreDump, 0);
    /// let pool = ProcessPool::builder().workers(2).worker(worker).build()?;
    /// assert_eq!(pool.apply(|| std::env::var("OMP_NUM_THREADS").ok(), ())?.as_deref(), Some("1"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn worker(mut self, builder: Builder) -> Self {
        self.worker = Some(builder);
        self
    }

    /// Binds each worker to one CPU, of those that the thread that calls [`build`](Self::build) may run on; by default each runs
    /// wherever this process may. With more workers than CPUs, it begins again with the first.
    ///
    /// It pays where tasks keep much in a cache, or must not meet on one core; where other programs run as well, a worker whose
    /// CPU is taken waits while others are free. A worker that replaces another is bound to its CPU. After
    /// [`resize`](ProcessPool::resize) two may share one.
    ///
    /// What a worker allocates and touches is on its own node of memory, as the kernel does by itself for a process that stays on
    /// one; what it shares with its owner is on the node of the process that touched it first. Of this and the
    /// [`cpu_affinity`](Builder::cpu_affinity) of a [`worker`](Self::worker), this counts. A CPU that has been switched off
    /// meanwhile is an error of the start.
    ///
    /// # Examples
    /// ```
    /// use pool::{Affinity, ProcessPool};
    /// use proc_core::cpu_count;
    ///
    /// let pool = ProcessPool::builder().workers(2).affinity(Affinity::Spread).build()?;
    /// assert_eq!(pool.apply(cpu_count, ())?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "cpu_affinity")]
    #[doc(alias = "pin")]
    pub fn affinity(mut self, affinity: Affinity) -> Self {
        self.affinity = Some(affinity);
        self
    }

    /// Puts the [`confine`](proc_core::Builder::confine) of the [`worker`](Self::worker) into force after its initializer,
    /// which may then open what tasks may not; the default is before it.
    ///
    /// Threads that the initializer leaves running are confined, too, by `compute` without paths and ports; with another
    /// confinement, this is an error of [`build`](Self::build).
    #[cfg(feature = "confine")]
    pub fn confine_after_initializer(mut self) -> Self {
        self.settings.confines_after_initializer = true;
        self
    }

    /// Starts the workers by this server. Of this and [`preload`](Self::preload), the latter counts, and both before
    /// [`start_method`](Self::start_method).
    pub fn fork_server(mut self, server: &ForkServer) -> Self {
        self.settings.fork_server = Some(server.clone());
        self
    }

    /// Calls `f` with a worker's name and each line that it writes to its standard output; by default that is this
    /// process's own. For a file or nothing instead, say so of the [`worker`](Self::worker):
    /// `.worker(Process::builder().stdout(Stdio::null()))`. If both are given, this counts.
    ///
    /// Lines are given one at a time, as [`stdout_lines`](Builder::stdout_lines) says; those of a worker that died come before
    /// its task ends in [`TaskError::WorkerDied`](crate::TaskError::WorkerDied), those of a living one may come after its
    /// task's result, and all have come when [`join`](crate::ProcessPool::join) returns. A worker that replaces another has
    /// its name. While `f` blocks, a worker that writes waits once its pipe is full.
    ///
    /// # Examples
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use pool::ProcessPool;
    ///
    /// let said = Arc::new(Mutex::new(Vec::new()));
    /// let lines = said.clone();
    /// let pool = ProcessPool::builder()
    ///     .workers(1)
    ///     .stdout(move |worker, line| lines.lock().unwrap().push(format!("{worker}: {line}")))
    ///     .build()?;
    /// pool.apply(|| println!("hello"), ())?;
    /// pool.close();
    /// pool.join()?;
    /// assert_eq!(*said.lock().unwrap(), ["pool-0: hello"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stdout(mut self, f: impl Fn(&str, &str) + Send + Sync + 'static) -> Self {
        self.settings.stdout = Some(Arc::new(f));
        self
    }

    /// As [`stdout`](Self::stdout), of their standard error. The last lines of a worker that crashed are in its
    /// [`CrashReport`](proc_core::CrashReport::stderr).
    pub fn stderr(mut self, f: impl Fn(&str, &str) + Send + Sync + 'static) -> Self {
        self.settings.stderr = Some(Arc::new(f));
        self
    }

    /// Whether this process's logger logs the workers' records (of the crate `log`): as
    /// [`Builder::forward_logs`], which is that of one worker, and true by default if this process has a logger. Records carry the
    /// name and the pid of the worker; those of a worker that died come out before its task ends in
    /// [`TaskError::WorkerDied`](crate::TaskError::WorkerDied).
    ///
    /// With the feature `tracing`, so do their events, out of the default subscriber.
    ///
    /// Other settings of forwarding are those of a [`worker`](Self::worker).
    #[cfg(feature = "log")]
    #[doc(alias = "get_logger")]
    pub fn forward_logs(mut self, wanted: bool) -> Self {
        self.settings.forward_logs = Some(wanted);
        self
    }

    /// Adds what the workers run to `trace`.
    #[cfg(feature = "trace")]
    pub fn trace(mut self, trace: &crate::Trace) -> Self {
        self.settings.trace = Some(trace.clone());
        self
    }

    /// How the workers are started.
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.settings.start_method = Some(method);
        self
    }

    /// Items of `map` and its like that make one task. By default it adapts to their speed: about 0.8 ms a task, and
    /// smaller towards the end of the input; at most as many as have room for their results in 64 KiB.
    #[doc(alias = "chunksize")]
    pub fn chunk_size(mut self, n_items: usize) -> Self {
        self.cut.chunk_size = Some(n_items);
        self
    }

    /// Most items that `imap` reads ahead of what it has yielded; by default four tasks a worker.
    #[doc(alias = "buffersize")]
    pub fn window(mut self, n_items: usize) -> Self {
        self.cut.window = Some(n_items);
        self
    }
}

impl fmt::Debug for ProcessPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessPoolBuilder")
            .field("name", &self.settings.name)
            .field("workers", &self.settings.n_workers)
            .finish_non_exhaustive()
    }
}
