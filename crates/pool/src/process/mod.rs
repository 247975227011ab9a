//! The pool of processes.

mod affinity;
mod batch;
mod board;
mod builder;
mod chunk;
mod codec;
mod errors;
mod events;
mod executor;
mod inbox;
#[cfg(feature = "inspect")]
pub(crate) mod inspect;
mod items;
mod job;
mod maps;
mod memory;
mod seat;
mod service;
mod settings;
mod shared;
mod single;
mod stamps;
mod state;
mod submit;
mod turns;
mod work;
mod worker;

use std::{
    fmt,
    future::{self, Future},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use kernel::futex::Deadline;
use proc_core::Target;
use serde::{Serialize, de::DeserializeOwned};

use self::shared::Shared;
use crate::{
    Full, PoolError, Stats, Task, TaskError,
    bound::{Bound, Permit},
    stream::Cut,
    task::{FailedTask, Handle},
    terms::Terms,
};

pub use self::{affinity::Affinity, builder::ProcessPoolBuilder};

/// Processes that run tasks; the same vocabulary as [`ThreadPool`](crate::ThreadPool).
///
/// A task is any function, or closure that captures nothing, with its arguments; arguments and results travel through
/// shared memory, handles inside them included: connections, queues, locks, descriptors. The pool has copies of what the
/// arguments' handles stand for until the task ends, in case it is tried again.
///
/// Dropping the pool terminates it: what has not ended by then is [`TaskError::Cancelled`]. To wait for the tasks,
/// [`close`](Self::close) and [`join`](Self::join).
///
/// # Crash safety
/// When a worker dies, whatever killed it, the results that it published are taken first. Then only the task that it
/// was running, which is known for certain, ends in [`TaskError::WorkerDied`] or is retried; of a chunk of `map`, only
/// the item. All other tasks are unaffected, and the worker is replaced. By default a task runs **at most once**; with
/// [`retries`](ProcessPoolBuilder::retries) **at least once**. The workers die with their owner.
///
/// # Examples
/// ```
/// use pool::{ProcessPool, TaskError};
///
/// let pool = ProcessPool::new(2)?;
/// assert_eq!(pool.apply(|a: u64, b: u64| a * b, (6, 7))?, 42);
/// assert_eq!(pool.map(|x| x * x, 0..5_u64)?, [0, 1, 4, 9, 16]);
///
/// let crash = pool.apply_async(|| -> () { std::process::abort() }, ());
/// let innocent = pool.apply_async(|| 7_u8, ());
/// assert!(matches!(crash.get(), Err(TaskError::WorkerDied { .. })));
/// assert_eq!(innocent.get()?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "Pool")]
#[doc(alias = "ProcessPoolExecutor")]
pub struct ProcessPool {
    shared: Arc<Shared>,
    bound: Option<Arc<Bound>>,
    cut: Cut,
}

impl ProcessPool {
    /// Runs `f(args…)` in a worker, and waits for what it returns.
    ///
    /// # Errors
    /// Each way in which a task can end without a result has its own variant of [`TaskError`].
    pub fn apply<F, A>(&self, f: F, args: A) -> Result<F::Output, TaskError>
    where
        F: Target<A>,
        A: Serialize + DeserializeOwned + Send + 'static,
        F::Output: Serialize + DeserializeOwned + Send + 'static,
    {
        self.apply_async(f, args).get()
    }

    /// Gives `f(args…)` to the pool, and returns at once. What goes wrong is the task's error.
    ///
    /// Tasks start in the order in which they are given. Only where they take less than about a millisecond each, workers
    /// have some in hand, about three milliseconds' worth, and may begin with theirs before others begin with older ones.
    #[doc(alias = "submit")]
    pub fn apply_async<F, A>(&self, f: F, args: A) -> Task<F::Output>
    where
        F: Target<A>,
        A: Serialize + DeserializeOwned + Send + 'static,
        F::Output: Serialize + DeserializeOwned + Send + 'static,
    {
        let permit = self.bound.as_ref().map(Bound::acquire);
        self.give(f, args, permit, Terms::default())
    }

    /// As [`apply_async`](Self::apply_async), unless the pool has [as many tasks as it may](ProcessPoolBuilder::max_pending).
    /// Never blocks.
    ///
    /// # Errors
    /// [`Full`], with the function and the arguments.
    pub fn try_apply_async<F, A>(&self, f: F, args: A) -> Result<Task<F::Output>, Full<F, A>>
    where
        F: Target<A>,
        A: Serialize + DeserializeOwned + Send + 'static,
        F::Output: Serialize + DeserializeOwned + Send + 'static,
    {
        self.task(f, args).try_submit()
    }

    fn give<F, A>(&self, f: F, args: A, permit: Option<Permit>, terms: Terms) -> Task<F::Output>
    where
        F: Target<A>,
        A: Serialize + DeserializeOwned + Send + 'static,
        F::Output: Serialize + DeserializeOwned + Send + 'static,
    {
        match single::job(&self.shared, f, args, permit, terms.kept()) {
            Ok(job) => {
                self.shared.submit(job.clone());
                Task(job)
            }
            Err(why) => FailedTask::task(why),
        }
    }

    /// As [`apply_async`](Self::apply_async), and calls `on_done` with the outcome; see [`Task::on_done`].
    #[doc(alias = "error_callback")]
    pub fn apply_async_with<F, A>(
        &self,
        f: F,
        args: A,
        on_done: impl FnOnce(&Result<F::Output, TaskError>) + Send + 'static,
    ) -> Task<F::Output>
    where
        F: Target<A>,
        A: Serialize + DeserializeOwned + Send + 'static,
        F::Output: Serialize + DeserializeOwned + Send + 'static,
    {
        let permit = self.bound.as_ref().map(Bound::acquire);
        let (task, job) = match single::job(&self.shared, f, args, permit, None) {
            Ok(job) => (Task(job.clone() as Arc<dyn Handle<_>>), Some(job)),
            Err(why) => (FailedTask::task(why), None),
        };
        task.on_done(on_done);
        if let Some(job) = job {
            self.shared.submit(job);
        }
        task
    }

    /// Changes how many workers there are, while the pool runs. Returns at once; each call counts from then on, from whatever
    /// thread.
    ///
    /// A larger pool starts workers at once, and each takes tasks as soon as it has run its initializer. If one cannot be
    /// started, that is dealt with as when one has to be replaced. In a smaller one, the surplus workers end what they are
    /// running, in whatever time that takes, give back what they have not begun, and leave; one that is still at it when the
    /// pool grows again stays. Maps that are under way give out tasks for as many workers as there are.
    ///
    /// # Errors
    /// [`PoolError::Setting`] for 0; [`PoolError::Closed`] after [`close`](Self::close) or [`terminate`](Self::terminate);
    /// what broke the pool, if something did.
    ///
    /// # Crash safety
    /// A surplus worker that is killed costs what any other does: the task that it was running.
    ///
    /// # Examples
    /// ```
    /// let pool = pool::ProcessPool::new(1)?;
    /// pool.resize(3)?;
    /// assert_eq!(pool.n_workers(), 3);
    /// assert_eq!(pool.map(|n| n + 1, 0..3)?, [1, 2, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resize(&self, n_workers: usize) -> Result<(), PoolError> {
        self.shared.resize(n_workers, &self.cut.n_workers)
    }

    /// Takes no further tasks. Those given already run to their end, and so do the inputs of maps begun before.
    #[doc(alias = "shutdown")]
    pub fn close(&self) {
        self.shared.close();
    }

    /// Takes no further tasks, cancels those that have not ended, and kills the workers. Returns at once.
    pub fn terminate(&self) {
        self.shared.terminate();
    }

    /// Waits until all tasks and workers have ended, after [`close`](Self::close) or [`terminate`](Self::terminate).
    ///
    /// An [`imap`](Self::imap) that another thread reads is waited for. One that only the calling thread reads is not,
    /// for it could never be read: its workers stay until it is read or dropped.
    ///
    /// # Errors
    /// [`PoolError::StillOpen`] before either; what broke the pool, if something did.
    pub fn join(&self) -> Result<(), PoolError> {
        if self.shared.is_open() {
            return Err(PoolError::StillOpen);
        }
        if self.shared.is_owner() {
            self.shared.wait_joined();
        }
        self.shared.broken().map_or(Ok(()), Err)
    }

    /// As [`join`](Self::join), without blocking a thread. It waits for every [`imap`](Self::imap), so that has to be
    /// read or dropped elsewhere.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn join_async(&self) -> impl Future<Output = Result<(), PoolError>> + Send + 'static {
        let shared = self.shared.clone();
        future::poll_fn(move |context| {
            if shared.is_open() {
                return Poll::Ready(Err(PoolError::StillOpen));
            }
            if shared.is_owner() && !shared.poll_gone(context.waker()) {
                return Poll::Pending;
            }
            Poll::Ready(shared.broken().map_or(Ok(()), Err))
        })
    }

    /// What the pool has done and is doing.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// How many workers it is to have, as [`resize`](Self::resize) was told last.
    pub fn n_workers(&self) -> usize {
        self.cut.n_workers()
    }
}

/// How long a drop waits for killed workers to be gone.
const LAST_WAIT: Duration = Duration::from_secs(5);

impl Drop for ProcessPool {
    fn drop(&mut self) {
        if self.shared.is_owner() {
            self.terminate();
            self.shared.wait_gone(Deadline::after(LAST_WAIT));
        }
    }
}

impl fmt::Debug for ProcessPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessPool").field("n_workers", &self.cut.n_workers()).finish_non_exhaustive()
    }
}
