//! What a pool tells of itself.

use proc_core::CrashReport;

/// What a pool has done and is doing. Counts of things in motion are right only to within those in motion.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Tasks that no worker has begun.
    pub queued: usize,
    /// Tasks that are being run.
    pub running: usize,
    /// Tasks that ended with a result; each item of a `map` is one.
    pub done: u64,
    /// Tasks that ended without one.
    pub failed: u64,
    /// Times that a task was given to another worker after the first died.
    pub retried: u64,
    /// Times that a worker was replaced.
    pub restarts: u64,
    /// How many workers the pool is to have; there may be fewer while some are started, and more while some are leaving.
    pub n_workers: usize,
    /// Each worker there is now.
    pub workers: Vec<WorkerStats>,
    /// The last 64 deaths of workers, the latest at the end.
    pub deaths: Vec<Death>,
}

/// What one worker has done.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WorkerStats {
    /// Its pid; `None` for a thread.
    pub pid: Option<u32>,
    /// Tasks that it ran to their end; a chunk of a `map` is one.
    pub done: u64,
    /// Whether it is running one.
    pub busy: bool,
    /// Whether it leaves after that, and is given nothing more; `false` for a thread.
    pub leaving: bool,
    /// The [`name`](crate::TaskBuilder::name) of the one that it is running, if that has one; `None` for a thread.
    pub task: Option<String>,
}

/// How a worker process ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Death {
    /// Its pid.
    pub pid: u32,
    /// The signal that killed it; `None` if it exited by itself.
    pub signal: Option<i32>,
    /// What it exited with; `None` if a signal killed it.
    pub code: Option<i32>,
    /// The [`id`](crate::Task::id) of the task that it was running; `None` if it was idle.
    pub task: Option<u64>,
    /// The [`name`](crate::TaskBuilder::name) of that task, if it has one.
    pub name: Option<String>,
    /// What it told of its end, if that was a fault of its own.
    pub crash: Option<CrashReport>,
}
