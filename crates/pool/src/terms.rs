//! What is said of one task, or of one map, and not of the whole pool.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    Task,
    stream::Cut,
    task::{Core, Handle},
};
use kernel::futex::Deadline;

/// Terms of a task. Where one says nothing, its pool's hold; where those say nothing, there is none.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// The longest that it may run.
    pub timeout: Option<Duration>,
    /// How often it is tried again after a worker's death.
    pub retries: Option<u32>,
    /// How many bytes of private memory it may take.
    pub memory_limit: Option<u64>,
    /// What it is called.
    pub name: Option<Arc<str>>,
}

impl Terms {
    /// To be kept beside a task; most have none.
    pub(crate) fn kept(self) -> Option<Arc<Self>> {
        let Self { timeout, retries, memory_limit, name } = &self;
        let are_any = timeout.is_some() || retries.is_some() || memory_limit.is_some() || name.is_some();
        are_any.then(|| Arc::new(self))
    }
}

/// One task to be given to a pool, with terms of its own: what [`ProcessPool::task`](crate::ProcessPool::task) and
/// [`ThreadPool::task`](crate::ThreadPool::task) return.
///
/// Of each term the task's own value counts, larger or smaller than the pool's; what is not said here is as the pool has it.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// let pool = pool::ProcessPool::new(1)?;
/// let task = pool.task(|n: u64| n + 1, (1,)).timeout(Duration::from_secs(5)).retries(2).name("one").submit();
/// assert_eq!(task.get()?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a task runs only once it is submitted"]
pub struct TaskBuilder<'p, P, F, A> {
    pub(crate) pool: &'p P,
    pub(crate) f: F,
    pub(crate) args: A,
    pub(crate) terms: Terms,
}

/// A map over an input, with terms of its own: what [`ProcessPool::tasks`](crate::ProcessPool::tasks) and
/// [`ThreadPool::tasks`](crate::ThreadPool::tasks) return.
///
/// Of each term the map's own value counts, larger or smaller than the pool's; what is not said here is as the pool has it.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// let pool = pool::ProcessPool::new(1)?;
/// let results: Vec<_> = pool.tasks(|n| n + 1, [1, 2]).timeout(Duration::from_secs(5)).imap().collect();
/// assert_eq!(results, [Ok(2), Ok(3)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing runs before one of `map`, `map_async`, `imap` and `imap_unordered`"]
pub struct MapBuilder<'p, P, F, I> {
    pub(crate) pool: &'p P,
    pub(crate) f: F,
    pub(crate) items: I,
    pub(crate) terms: Terms,
    pub(crate) chunk_size: Option<usize>,
    pub(crate) window: Option<usize>,
}

impl<'p, P, F, A> TaskBuilder<'p, P, F, A> {
    pub(crate) fn new(pool: &'p P, f: F, args: A) -> Self {
        Self { pool, f, args, terms: Terms::default() }
    }

    /// What the task is called: by [`Task::name`], and for a process pool in [`WorkerDied`](crate::TaskError::WorkerDied),
    /// [`Death::name`](crate::Death::name) and [`WorkerStats::task`](crate::WorkerStats::task).
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.terms.name = Some(name.into().into());
        self
    }
}

impl<'p, P, F, I> MapBuilder<'p, P, F, I> {
    pub(crate) fn new(pool: &'p P, f: F, items: I) -> Self {
        Self { pool, f, items, terms: Terms::default(), chunk_size: None, window: None }
    }

    /// What each of its tasks is called; see [`TaskBuilder::name`].
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.terms.name = Some(name.into().into());
        self
    }

    /// Items that make one task; at least 1. See [`chunk_size`](crate::ProcessPoolBuilder::chunk_size) of the pool.
    #[doc(alias = "chunksize")]
    pub fn chunk_size(mut self, n_items: usize) -> Self {
        self.chunk_size = Some(n_items.max(1));
        self
    }

    /// Most items that are read ahead of what was yielded; at least 1. `map_async` reads all there are.
    #[doc(alias = "buffersize")]
    pub fn window(mut self, n_items: usize) -> Self {
        self.window = Some(n_items.max(1));
        self
    }

    /// How its input is cut, in a pool that cuts inputs so.
    pub(crate) fn cut(&self, of_pool: Cut) -> Cut {
        let chunk_size = self.chunk_size.or(of_pool.chunk_size).or(self.terms.timeout.map(|_| 1));
        Cut { chunk_size, window: self.window.or(of_pool.window), ..of_pool }
    }
}

/// A pool whose tasks run in processes: one can be killed with its worker, and tried again in another.
pub trait HasProcesses {}

impl<P: HasProcesses, F, A> TaskBuilder<'_, P, F, A> {
    /// The longest that it may run, as of a pool's [`task_timeout`](crate::ProcessPoolBuilder::task_timeout). The time in
    /// the queue does not count, and each retry has the whole time. [`Duration::MAX`] is for as long as it takes, whatever
    /// the pool says.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.terms.timeout = Some(timeout);
        self
    }

    /// How often it is tried again after the worker that ran it died, as of a pool's
    /// [`retries`](crate::ProcessPoolBuilder::retries); after the pool's [`retry_delay`](crate::ProcessPoolBuilder::retry_delay).
    /// With 0 it runs at most once, whatever the pool says.
    pub fn retries(mut self, n: u32) -> Self {
        self.terms.retries = Some(n);
        self
    }

    /// How many bytes of private memory it may take on top of what its worker has, as of a pool's
    /// [`memory_limit`](crate::ProcessPoolBuilder::memory_limit). [`u64::MAX`] is for as much as there is, whatever the pool says.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.terms.memory_limit = Some(bytes);
        self
    }
}

impl<P: HasProcesses, F, I> MapBuilder<'_, P, F, I> {
    /// The longest that one of its tasks may run; see [`TaskBuilder::timeout`]. It also makes every item a task of its own,
    /// unless there is a [`chunk_size`](Self::chunk_size), of the map or of the pool: then the time is for the chunk.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.terms.timeout = Some(timeout);
        self
    }

    /// How often an item is tried again after the worker that ran it died; see [`TaskBuilder::retries`].
    pub fn retries(mut self, n: u32) -> Self {
        self.terms.retries = Some(n);
        self
    }

    /// How many bytes of private memory each of its tasks may take, of which one is a chunk of items; see
    /// [`TaskBuilder::memory_limit`].
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.terms.memory_limit = Some(bytes);
        self
    }
}

impl<P, F, A> fmt::Debug for TaskBuilder<'_, P, F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskBuilder").field("terms", &self.terms).finish_non_exhaustive()
    }
}

impl<P, F, I> fmt::Debug for MapBuilder<'_, P, F, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("MapBuilder");
        debug.field("terms", &self.terms).field("chunk_size", &self.chunk_size).field("window", &self.window);
        debug.finish_non_exhaustive()
    }
}

/// A task that has a name: most have none, and need no room for it.
pub(crate) struct Named<R> {
    name: Arc<str>,
    task: Task<R>,
}

impl<R: Send + 'static> Named<R> {
    pub(crate) fn task(name: Option<Arc<str>>, task: Task<R>) -> Task<R> {
        match name {
            Some(name) => Task(Arc::new(Self { name, task })),
            None => task,
        }
    }
}

impl<R: Send> Handle<R> for Named<R> {
    fn core(&self) -> &Core<R> {
        self.task.0.core()
    }

    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn cancel(&self) -> bool {
        self.task.0.cancel()
    }

    fn is_running(&self) -> bool {
        self.task.0.is_running()
    }

    fn wait(&self, deadline: Option<Deadline>) -> bool {
        self.task.0.wait(deadline)
    }
}
