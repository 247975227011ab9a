//! The pool of threads.

mod job;
mod scope;
mod shared;

use std::{fmt, sync::Arc, thread::JoinHandle};

use parking_lot::Mutex;

use self::{job::Job, shared::Shared};
use crate::{
    Call, CallOnce, Imap, ImapUnordered, PoolError, Stats, Task, TaskError,
    stream::{self, Chunk, Cut, Inputs, Submit},
    task::Handle,
};

pub use self::scope::{Scope, ScopedTask};

/// Threads that run tasks; the same vocabulary as [`ProcessPool`](crate::ProcessPool).
///
/// Closures may capture what they like, nothing is serialised, and a panic is the error of its task. Dropping the pool
/// closes it and waits for what was given to it, so that no task is lost; [`terminate`](Self::terminate) first to
/// drop what has not begun. Its threads stay for an [`imap`](Self::imap) that is not read to its end.
///
/// # Examples
/// ```
/// let pool = pool::ThreadPool::new(4)?;
/// let offset = 10;
/// assert_eq!(pool.apply(move |x: u64| x + offset, (5,))?, 15);
/// assert_eq!(pool.map(|x| x * x, 0..5)?, [0, 1, 4, 9, 16]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "ThreadPoolExecutor")]
pub struct ThreadPool {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    cut: Cut,
}

/// Settings of a [`ThreadPool`] to be.
#[derive(Debug)]
#[must_use = "a builder does nothing before `build`"]
pub struct ThreadPoolBuilder {
    name: String,
    n_workers: usize,
    cut: Cut,
    initializer: Option<Initializer>,
}

struct Initializer(Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for Initializer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Initializer")
    }
}

impl ThreadPoolBuilder {
    /// How many threads; by default [`cpu_count`](proc_core::cpu_count).
    pub fn workers(self, n: usize) -> Self {
        Self { n_workers: n, ..self }
    }

    /// What the threads' names begin with; by default `pool`.
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Has every thread call `f(args…)` before its first task.
    pub fn initializer<F, A>(self, f: F, args: A) -> Self
    where
        F: Call<A> + Send + Sync + 'static,
        A: Clone + Send + Sync + 'static,
    {
        let call = move || {
            f.call(args.clone());
        };
        Self { initializer: Some(Initializer(Arc::new(call))), ..self }
    }

    /// Items of `map` and its like that make one task. By default it adapts to their speed: about 0.8 ms a task, and
    /// smaller towards the end of the input.
    #[doc(alias = "chunksize")]
    pub fn chunk_size(self, n_items: usize) -> Self {
        Self { cut: Cut { chunk_size: Some(n_items), ..self.cut }, ..self }
    }

    /// Most items that `imap` reads ahead of what it has yielded; by default four tasks a worker.
    #[doc(alias = "buffersize")]
    pub fn window(self, n_items: usize) -> Self {
        Self { cut: Cut { window: Some(n_items), ..self.cut }, ..self }
    }

    /// Starts the threads, and waits for their initializers.
    ///
    /// # Errors
    /// If a thread cannot be started, or an initializer panicked; [`PoolError::Setting`] if a number is 0 that must not
    /// be.
    pub fn build(self) -> Result<ThreadPool, PoolError> {
        self.cut.check(self.n_workers)?;
        let initializer = self.initializer.map(|f| f.0);
        let (shared, threads) = Shared::start(&self.name, self.n_workers, initializer)?;
        let cut = Cut { n_workers: self.n_workers, ..self.cut };
        Ok(ThreadPool { shared, threads: Mutex::new(threads), cut })
    }
}

impl ThreadPool {
    /// Starts `n_workers` threads.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn new(n_workers: usize) -> Result<Self, PoolError> {
        Self::builder().workers(n_workers).build()
    }

    /// Settings for a pool.
    pub fn builder() -> ThreadPoolBuilder {
        ThreadPoolBuilder {
            name: "pool".into(),
            n_workers: proc_core::cpu_count(),
            cut: Cut::default(),
            initializer: None,
        }
    }

    /// Runs `f(args…)` on a thread of the pool, and waits for what it returns.
    ///
    /// # Errors
    /// [`TaskError::Panicked`]; [`TaskError::Closed`]; [`TaskError::Cancelled`] if the pool is terminated meanwhile.
    pub fn apply<F, A>(&self, f: F, args: A) -> Result<F::Output, TaskError>
    where
        F: CallOnce<A> + Send + 'static,
        A: Send + 'static,
        F::Output: Send + 'static,
    {
        self.apply_async(f, args).get()
    }

    /// Gives `f(args…)` to the pool, and returns at once. Tasks start in the order in which they are given.
    #[doc(alias = "submit")]
    pub fn apply_async<F, A>(&self, f: F, args: A) -> Task<F::Output>
    where
        F: CallOnce<A> + Send + 'static,
        A: Send + 'static,
        F::Output: Send + 'static,
    {
        spawn(&self.shared, move || f.call_once(args))
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
        F: CallOnce<A> + Send + 'static,
        A: Send + 'static,
        F::Output: Send + 'static,
    {
        let job = Job::new(&self.shared, move || f.call_once(args));
        let task = Task(job.clone() as Arc<dyn Handle<_>>);
        task.on_done(on_done);
        self.shared.push(job);
        task
    }

    /// `f` of every item, in their order. Waits for all of them.
    ///
    /// # Errors
    /// The first item's that failed; the rest may or may not have run.
    pub fn map<F, I, R>(&self, f: F, items: I) -> Result<Vec<R>, TaskError>
    where
        F: Fn(I::Item) -> R + Send + Sync + 'static,
        I: IntoIterator<Item: Send + 'static>,
        R: Send + 'static,
    {
        stream::map(items.into_iter(), self.cut, self.submit(f))
    }

    /// As [`map`](Self::map), in the background: reads all of `items` now, and returns at once.
    pub fn map_async<F, I, R>(&self, f: F, items: I) -> Task<Vec<R>>
    where
        F: Fn(I::Item) -> R + Send + Sync + 'static,
        I: IntoIterator<Item: Send + 'static>,
        R: Send + 'static,
    {
        crate::gather::gather(items.into_iter(), self.cut, self.submit(f))
    }

    /// As [`map`](Self::map), for an `f` of several arguments and an iterator of tuples.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn starmap<F, I>(&self, f: F, items: I) -> Result<Vec<F::Output>, TaskError>
    where
        F: Call<I::Item> + Send + Sync + 'static,
        I: IntoIterator<Item: Send + 'static>,
        F::Output: Send + 'static,
    {
        self.map(move |args| f.call(args), items)
    }

    /// `f` of every item, lazily: reads `items` only as far ahead as the window allows, and yields in their order.
    pub fn imap<F, I, R>(&self, f: F, items: I) -> Imap<I::IntoIter, R>
    where
        F: Fn(I::Item) -> R + Send + Sync + 'static,
        I: IntoIterator<Item: Send + 'static>,
        R: Send + 'static,
    {
        Imap::new(items.into_iter(), self.cut, self.submit(f))
    }

    /// As [`imap`](Self::imap), but yields each result as soon as it is there.
    pub fn imap_unordered<F, I, R>(&self, f: F, items: I) -> ImapUnordered<I::IntoIter, R>
    where
        F: Fn(I::Item) -> R + Send + Sync + 'static,
        I: IntoIterator<Item: Send + 'static>,
        R: Send + 'static,
    {
        ImapUnordered::new(items.into_iter(), self.cut, self.submit(f))
    }

    fn submit<A, R>(&self, f: impl Fn(A) -> R + Send + Sync + 'static) -> Submit<A, R>
    where
        A: Send + 'static,
        R: Send + 'static,
    {
        let (shared, f) = (self.shared.clone(), Arc::new(f));
        let mut open = shared.open_input();
        Box::new(move |items| {
            let f = f.clone();
            let job = Job::new(&shared, move || Chunk::run(items, &*f, |work| job::caught(work)));
            match &mut open {
                Some(open) => {
                    open.is_read();
                    shared.push_of_input(job.clone());
                }
                None => shared.push(job.clone()),
            }
            Task(job as Arc<dyn Handle<_>>)
        })
    }

    /// Lets `f` give the pool's size of threads tasks that borrow from here, and waits for all of them.
    ///
    /// The tasks run on threads of the scope's own, as many as the pool has at most, each but the first started when it is
    /// needed: what borrows must not outlive the call, and only the scope's end can promise that. Tasks may give further
    /// tasks to their scope, and have scopes of their own.
    ///
    /// # Panics
    /// After all tasks have ended: if `f` panicked, with its panic; else if a task did, and nobody has
    /// [taken](ScopedTask::get) that, with the message of the first.
    ///
    /// # Examples
    /// ```
    /// let pool = pool::ThreadPool::new(2)?;
    /// let words = vec!["a", "bc"];
    /// let lengths = pool.scope(|scope| {
    ///     let tasks: Vec<_> = words.iter().map(|word| scope.apply_async(|| word.len(), ())).collect();
    ///     tasks.iter().map(|task| task.get()).collect::<Result<Vec<_>, _>>()
    /// })?;
    /// assert_eq!(lengths, [1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn scope<'env, R>(&self, f: impl for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R) -> R {
        scope::run(self.cut.n_workers, f)
    }

    /// Takes no further tasks. Those given already run to their end, and so do the inputs of maps begun before.
    #[doc(alias = "shutdown")]
    pub fn close(&self) {
        self.shared.close();
    }

    /// Takes no further tasks, and cancels those that have not begun. Threads cannot be killed: what runs, runs on.
    pub fn terminate(&self) {
        self.shared.terminate();
    }

    /// Waits for the threads to end, after [`close`](Self::close) or [`terminate`](Self::terminate).
    ///
    /// An [`imap`](Self::imap) that another thread reads is waited for. One that only the calling thread reads is not,
    /// for it could never be read: its threads stay until it is read or dropped.
    ///
    /// # Errors
    /// [`PoolError::StillOpen`] before either.
    pub fn join(&self) -> Result<(), PoolError> {
        if self.shared.is_open() {
            return Err(PoolError::StillOpen);
        }
        self.join_until(|inputs| inputs.all_wait_for_this_thread());
        Ok(())
    }

    /// Waits for the threads to end, or until there is nothing to do but inputs to be read that are `out_of_reach`.
    fn join_until(&self, out_of_reach: impl Fn(&Inputs) -> bool) {
        if !self.shared.wait_for_inputs(out_of_reach) {
            return;
        }
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // A task may own its pool and be the last to: its thread cannot wait for itself.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }

    /// What the pool has done and is doing.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// How many threads it has.
    pub fn n_workers(&self) -> usize {
        self.cut.n_workers
    }
}

fn spawn<R: Send + 'static>(shared: &Arc<Shared>, f: impl FnOnce() -> R + Send + 'static) -> Task<R> {
    let job = Job::new(shared, f);
    let task = Task(job.clone() as Arc<dyn Handle<R>>);
    shared.push(job);
    task
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.close();
        self.join_until(|_| true);
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool").field("n_workers", &self.cut.n_workers).finish_non_exhaustive()
    }
}
