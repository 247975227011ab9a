//! The pool of threads.

mod builder;
mod caught;
mod executor;
mod job;
mod presence;
mod scope;
mod shared;
mod submit;

use std::{
    fmt,
    future::{self, Future},
    sync::Arc,
    task::Poll,
    thread::JoinHandle,
    time::Duration,
};

use kernel::futex::Deadline;
use parking_lot::Mutex;

use self::{caught::caught, job::ThreadJob, shared::Threads};
use crate::{
    Call, CallOnce, Full, Imap, ImapUnordered, PoolError, Stats, Task, TaskError,
    bound::{Bound, Permit},
    label::Label,
    stream::{self, Chunk, Cut, Inputs, Submit},
    task::Handle,
};

pub use self::{
    builder::ThreadPoolBuilder,
    scope::{Scope, ScopedTask},
};

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
    shared: Arc<Threads>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    bound: Option<Arc<Bound>>,
    cut: Cut,
}

impl ThreadPool {
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
        let permit = self.permit();
        self.give(f, args, permit)
    }

    /// As [`apply_async`](Self::apply_async), unless the pool has [as many tasks as it may](ThreadPoolBuilder::max_pending).
    /// Never blocks.
    ///
    /// # Errors
    /// [`Full`], with the function and the arguments.
    pub fn try_apply_async<F, A>(&self, f: F, args: A) -> Result<Task<F::Output>, Full<F, A>>
    where
        F: CallOnce<A> + Send + 'static,
        A: Send + 'static,
        F::Output: Send + 'static,
    {
        self.task(f, args).try_submit()
    }

    fn give<F, A>(&self, f: F, args: A, permit: Option<Permit>) -> Task<F::Output>
    where
        F: CallOnce<A> + Send + 'static,
        A: Send + 'static,
        F::Output: Send + 'static,
    {
        spawn(&self.shared, Label::of(&f), move || with(permit, || f.call_once(args)))
    }

    fn permit(&self) -> Option<Permit> {
        let bound = self.bound.as_ref()?;
        if self.shared.is_this_thread_mine() { bound.try_acquire() } else { Some(bound.acquire()) }
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
        let permit = self.permit();
        let job = ThreadJob::new(&self.shared, Label::of(&f), move || with(permit, || f.call_once(args)));
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
        stream::map(items.into_iter(), self.cut.clone(), self.submit(f), None)
    }

    /// As [`map`](Self::map), with so many items to a task, whatever the pool's own
    /// [`chunk_size`](ThreadPoolBuilder::chunk_size).
    ///
    /// # Errors
    /// As [`map`](Self::map).
    #[doc(alias = "chunksize")]
    pub fn map_chunked<F, I, R>(&self, f: F, items: I, chunk_size: usize) -> Result<Vec<R>, TaskError>
    where
        F: Fn(I::Item) -> R + Send + Sync + 'static,
        I: IntoIterator<Item: Send + 'static>,
        R: Send + 'static,
    {
        stream::map(items.into_iter(), self.cut.clone().with_chunk_size(chunk_size), self.submit(f), None)
    }

    /// As [`map`](Self::map), for at most `timeout`; what is under way then is [cancelled](Task::cancel).
    ///
    /// # Errors
    /// As [`map`](Self::map), and [`TaskError::TimedOut`].
    pub fn map_timeout<F, I, R>(&self, f: F, items: I, timeout: Duration) -> Result<Vec<R>, TaskError>
    where
        F: Fn(I::Item) -> R + Send + Sync + 'static,
        I: IntoIterator<Item: Send + 'static>,
        R: Send + 'static,
    {
        stream::map(items.into_iter(), self.cut.clone(), self.submit(f), Deadline::after(timeout))
    }

    /// As [`map`](Self::map), over borrowed items; clones them on their way.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn map_slice<F, T, R>(&self, f: F, items: &[T]) -> Result<Vec<R>, TaskError>
    where
        F: Fn(&T) -> R + Send + Sync + 'static,
        T: Clone + Send + 'static,
        R: Send + 'static,
    {
        self.map(move |item| f(&item), items.iter().cloned())
    }

    /// As [`map`](Self::map), in the background: reads all of `items` now, and returns at once.
    pub fn map_async<F, I, R>(&self, f: F, items: I) -> Task<Vec<R>>
    where
        F: Fn(I::Item) -> R + Send + Sync + 'static,
        I: IntoIterator<Item: Send + 'static>,
        R: Send + 'static,
    {
        crate::gather::gather(items.into_iter(), self.cut.clone(), self.submit(f))
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

    /// As [`starmap`](Self::starmap), in the background: reads all of `items` now, and returns at once.
    pub fn starmap_async<F, I>(&self, f: F, items: I) -> Task<Vec<F::Output>>
    where
        F: Call<I::Item> + Send + Sync + 'static,
        I: IntoIterator<Item: Send + 'static>,
        F::Output: Send + 'static,
    {
        self.map_async(move |args| f.call(args), items)
    }

    /// `f` of every item, lazily: reads `items` only as far ahead as the window allows, and yields in their order.
    pub fn imap<F, I, R>(&self, f: F, items: I) -> Imap<I::IntoIter, R>
    where
        F: Fn(I::Item) -> R + Send + Sync + 'static,
        I: IntoIterator<Item: Send + 'static>,
        R: Send + 'static,
    {
        Imap::new(items.into_iter(), self.cut.clone(), self.submit(f))
    }

    /// As [`imap`](Self::imap), but yields each result as soon as it is there.
    pub fn imap_unordered<F, I, R>(&self, f: F, items: I) -> ImapUnordered<I::IntoIter, R>
    where
        F: Fn(I::Item) -> R + Send + Sync + 'static,
        I: IntoIterator<Item: Send + 'static>,
        R: Send + 'static,
    {
        ImapUnordered::new(items.into_iter(), self.cut.clone(), self.submit(f))
    }

    fn submit<A, R>(&self, f: impl Fn(A) -> R + Send + Sync + 'static) -> Submit<A, R>
    where
        A: Send + 'static,
        R: Send + 'static,
    {
        let (shared, label, f) = (self.shared.clone(), Label::of(&f), Arc::new(f));
        let mut open = shared.open_input();
        Box::new(move |items| {
            let f = f.clone();
            let job = ThreadJob::chunk(&shared, label, move || Chunk::run(items, &*f, |work| caught(work)));
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
    /// After all tasks have ended: if `f` panicked, with its panic; else if a task did, and the caller has not
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
        scope::run(self.cut.n_workers(), f)
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
            if shared.poll_gone(context.waker()) { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
    }

    /// What the pool has done and is doing.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// How many threads it has.
    pub fn n_workers(&self) -> usize {
        self.cut.n_workers()
    }
}

/// Gives `permit` back as soon as `f` has ended, before its result is seen.
fn with<R>(permit: Option<Permit>, f: impl FnOnce() -> R) -> R {
    let _permit = permit;
    f()
}

fn spawn<R: Send + 'static>(shared: &Arc<Threads>, label: Label, f: impl FnOnce() -> R + Send + 'static) -> Task<R> {
    let job = ThreadJob::new(shared, label, f);
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
        f.debug_struct("ThreadPool").field("n_workers", &self.cut.n_workers()).finish_non_exhaustive()
    }
}
