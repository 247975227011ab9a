//! The pool's handle.

mod builder;
mod call;
mod defaults;
mod function;
mod job;
mod submit;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed, mpsc},
    time::Duration,
};

use parking_lot::Mutex;
use pool::{
    Executor, Imap, ImapUnordered, MapBuilder, PoolError, Stats, Task, TaskBuilder, TaskError,
    engine::{Cut, Remote},
};
use proc_core::Target;
use serde::{Serialize, de::DeserializeOwned};

use self::defaults::Defaults;
use crate::{
    coordinator::{Host, Shared, Wake},
    local::Local,
};

pub use self::{builder::ClusterPoolBuilder, function::RegisteredFunction, job::Job};

/// Several machines that run tasks; the same vocabulary as [`ProcessPool`](pool::ProcessPool).
///
/// On each machine runs an [`Agent`](crate::Agent): this very program. Between them and this pool is a
/// [NATS](https://nats.io) server with JetStream, which keeps the tasks until each has a result here.
///
/// A task is any function, or closure that captures nothing, with its arguments. Handles (queues, locks, descriptors) mean
/// nothing on another machine, and are refused. [`Task::running`] is not known here, and false.
///
/// Dropping the pool terminates it: what has not ended by then is [`TaskError::Cancelled`]. To wait for the tasks,
/// [`close`](Self::close) and [`join`](Self::join).
///
/// # Crash safety
/// A task has exactly one result, whatever is killed on the way: worker, agent, host, server. It **may run more than
/// once**, also without retries: if its host is lost, the server gives it to another one, and it is unknown how far the
/// lost one had come. Where a worker process dies and its agent lives, it runs at most once by default, and at least once
/// with retries, as in a [`ProcessPool`](pool::ProcessPool).
///
/// While there is no agent, or no server, tasks wait, for as long as
/// [`agent_timeout`](ClusterPoolBuilder::agent_timeout) says. If this process is killed, its tasks go, too: agents let go
/// of them half a minute later. Those of a [`job`](Self::job) go on.
///
/// # Examples
/// ```no_run
/// use cluster::ClusterPool;
///
/// let pool = ClusterPool::connect("nats://10.0.0.1:4222")?;
/// assert_eq!(pool.apply(|a: u64, b: u64| a * b, (6, 7))?, 42);
/// assert_eq!(pool.map(|x| x * x, 0..5_u64)?, [0, 1, 4, 9, 16]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ClusterPool {
    shared: Arc<Shared>,
    cut: Cut,
    defaults: Defaults,
    /// Says when the thread has ended.
    ended: Mutex<mpsc::Receiver<()>>,
    /// What was started for this pool alone.
    local: Option<Local>,
}

impl ClusterPool {
    fn new(shared: Arc<Shared>, cut: Cut, defaults: Defaults, ended: mpsc::Receiver<()>, local: Option<Local>) -> Self {
        Self { shared, cut, defaults, ended: Mutex::new(ended), local }
    }

    /// The agents of this build that were heard of in the last seconds.
    pub fn hosts(&self) -> Vec<Host> {
        self.shared.state.lock().hosts.clone()
    }

    /// Blocks until there are `n_hosts` agents (true), for at most `timeout` (false).
    pub fn wait_for_hosts(&self, n_hosts: usize, timeout: Duration) -> bool {
        self.shared.wait_for_hosts(n_hosts, timeout)
    }

    /// The pid of the server that [`local`](Self::local) has started.
    #[doc(hidden)]
    pub fn server_pid(&self) -> Option<u32> {
        self.local.as_ref().and_then(Local::server_pid)
    }

    /// Where that server is, and what it wants to be told.
    #[doc(hidden)]
    pub fn server_address(&self) -> Option<(String, String)> {
        let address = self.local.as_ref()?.address();
        Some((address.urls.clone(), address.token.clone().unwrap_or_default()))
    }

    /// How often the server had lost a task, and it was given once more; counted by comparing what this pool waits for with
    /// what the server has.
    pub fn n_resubmitted(&self) -> u64 {
        self.shared.state.lock().ledger.n_resubmitted
    }

    /// Runs `f(args…)` in a worker, and waits for what it returns.
    ///
    /// # Errors
    /// Each way in which a task can end without a result has its own variant of [`TaskError`].
    pub fn apply<F, A>(&self, f: F, args: A) -> Result<F::Output, TaskError>
    where
        F: Target<A> + Send,
        A: Serialize + DeserializeOwned + Send + 'static,
        F::Output: Serialize + DeserializeOwned + Send + 'static,
    {
        Executor::apply(self, f, args)
    }

    /// Gives `f(args…)` to the pool, and returns at once. What goes wrong is the task's error.
    #[doc(alias = "submit")]
    pub fn apply_async<F, A>(&self, f: F, args: A) -> Task<F::Output>
    where
        F: Target<A> + Send,
        A: Serialize + DeserializeOwned + Send + 'static,
        F::Output: Serialize + DeserializeOwned + Send + 'static,
    {
        Executor::apply_async(self, f, args)
    }

    /// The task `f(args…)`, to be given terms of its own and [submitted](TaskBuilder::submit). Time-outs, retries and limits on
    /// memory are seen to by the agent that runs it.
    pub fn task<F, A>(&self, f: F, args: A) -> TaskBuilder<'_, Self, F, A>
    where
        F: Target<A> + Send,
        A: Serialize + DeserializeOwned + Send + 'static,
        F::Output: Serialize + DeserializeOwned + Send + 'static,
    {
        self.task_builder(f, args)
    }

    /// `f` of every item, to be given terms of its own and begun by one of [`map`](MapBuilder::map),
    /// [`map_async`](MapBuilder::map_async), [`imap`](MapBuilder::imap) and [`imap_unordered`](MapBuilder::imap_unordered).
    pub fn tasks<F, I, R>(&self, f: F, items: I) -> MapBuilder<'_, Self, F, I>
    where
        F: Fn(I::Item) -> R + Copy + Send + Sync + 'static,
        I: IntoIterator<Item: Serialize + DeserializeOwned + Send + 'static>,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        self.map_builder(f, items)
    }

    /// `f` of every item, in their order. Waits for all of them.
    ///
    /// # Errors
    /// The first item's that failed; the rest may or may not have run.
    pub fn map<F, I, R>(&self, f: F, items: I) -> Result<Vec<R>, TaskError>
    where
        F: Fn(I::Item) -> R + Copy + Send + Sync + 'static,
        I: IntoIterator<Item: Serialize + DeserializeOwned + Send + 'static>,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        Executor::map(self, f, items)
    }

    /// As [`map`](Self::map), in the background: reads all of `items` now, and returns at once.
    pub fn map_async<F, I, R>(&self, f: F, items: I) -> Task<Vec<R>>
    where
        F: Fn(I::Item) -> R + Copy + Send + Sync + 'static,
        I: IntoIterator<Item: Serialize + DeserializeOwned + Send + 'static>,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        Executor::map_async(self, f, items)
    }

    /// As [`map`](Self::map), for an `f` of several arguments and an iterator of tuples.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn starmap<F, I>(&self, f: F, items: I) -> Result<Vec<F::Output>, TaskError>
    where
        F: Target<I::Item> + Send + Sync,
        I: IntoIterator<Item: Serialize + DeserializeOwned + Send + 'static>,
        F::Output: Serialize + DeserializeOwned + Send + 'static,
    {
        Executor::starmap(self, f, items)
    }

    /// `f` of every item, lazily: reads `items` only as far ahead as the window allows, and yields in their order.
    pub fn imap<F, I, R>(&self, f: F, items: I) -> Imap<I::IntoIter, R>
    where
        F: Fn(I::Item) -> R + Copy + Send + Sync + 'static,
        I: IntoIterator<Item: Serialize + DeserializeOwned + Send + 'static>,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        Executor::imap(self, f, items)
    }

    /// As [`imap`](Self::imap), but yields each result as soon as it is there.
    pub fn imap_unordered<F, I, R>(&self, f: F, items: I) -> ImapUnordered<I::IntoIter, R>
    where
        F: Fn(I::Item) -> R + Copy + Send + Sync + 'static,
        I: IntoIterator<Item: Serialize + DeserializeOwned + Send + 'static>,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        Executor::imap_unordered(self, f, items)
    }

    /// Takes no further tasks. Those given already run to their end, and so do the inputs of maps begun before.
    #[doc(alias = "shutdown")]
    pub fn close(&self) {
        self.shared.close();
    }

    /// Takes no further tasks, cancels those that have not ended, and has the agents let go of them. Returns at once.
    pub fn terminate(&self) {
        self.shared.terminate();
    }

    /// Waits until all tasks have ended, after [`close`](Self::close) or [`terminate`](Self::terminate). The agents stay, but
    /// those of [`local`](Self::local) end with the pool's drop.
    ///
    /// An [`imap`](Self::imap) that another thread reads is waited for. One that only the calling thread reads is not.
    ///
    /// # Errors
    /// [`PoolError::StillOpen`] before either.
    pub fn join(&self) -> Result<(), PoolError> {
        self.shared.wait_done()
    }

    /// What the pool has done and is doing. [`Stats::running`] counts the tasks that agents have in hand.
    pub fn stats(&self) -> Stats {
        let state = self.shared.state.lock();
        let mut stats = Stats::default();
        let n_held: usize = state.hosts.iter().map(|host| host.n_held).sum();
        stats.running = n_held.min(state.ledger.len());
        stats.queued = state.ledger.len() - stats.running;
        stats.done = self.shared.n_done.load(Relaxed);
        stats.failed = self.shared.n_failed.load(Relaxed);
        stats.retried = state.ledger.n_resubmitted;
        stats.n_workers = state.hosts.iter().map(|host| host.n_slots).sum();
        stats
    }
}

/// How long a drop waits for the pool's thread to say farewell.
const LAST_WAIT: Duration = Duration::from_secs(5);

impl Drop for ClusterPool {
    fn drop(&mut self) {
        self.terminate();
        self.shared.wake(Wake::Stop);
        // It says nothing; it hangs up.
        let _ = self.ended.get_mut().recv_timeout(LAST_WAIT);
    }
}

impl fmt::Debug for ClusterPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterPool").field("hosts", &self.hosts()).finish_non_exhaustive()
    }
}
