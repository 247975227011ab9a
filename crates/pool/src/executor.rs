//! What all pools have in common.

use proc_core::Target;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Imap, ImapUnordered, PoolError, Stats, Task, TaskError,
    engine::{Cut, Submit, Terms},
    gather, stream,
};

/// What every pool does: of threads, of processes, of machines. A function that takes one of these takes any of them.
///
/// Each pool has methods of the same names of its own, which is what a program with one pool calls. What is asked for here
/// is what all of them need together: functions that capture nothing, and values that can travel.
///
/// # Examples
/// ```
/// use pool::{Executor, ProcessPool, TaskError, ThreadPool};
///
/// fn squares(pool: &impl Executor, n: u64) -> Result<u64, TaskError> {
///     Ok(pool.map(|x| x * x, 0..n)?.iter().sum())
/// }
///
/// assert_eq!(squares(&ThreadPool::new(2)?, 4)?, 14);
/// assert_eq!(squares(&ProcessPool::new(2)?, 4)?, 14);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Executor {
    /// How it cuts inputs into tasks.
    #[doc(hidden)]
    fn cut_of_maps(&self) -> Cut;

    /// Gives it one task.
    #[doc(hidden)]
    fn give_task<F, A>(&self, f: F, args: A, terms: Terms) -> Task<F::Output>
    where
        F: Target<A> + Send,
        A: Serialize + DeserializeOwned + Send + 'static,
        F::Output: Serialize + DeserializeOwned + Send + 'static;

    /// What gives it the chunks of one map.
    #[doc(hidden)]
    fn feed<F, A, R>(&self, f: F, terms: Terms) -> Submit<A, R>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static;

    /// Takes no further tasks. Those given already run to their end, and so do the inputs of maps begun before.
    fn close(&self);

    /// Takes no further tasks, and cancels those that have not begun.
    fn terminate(&self);

    /// Waits until all tasks and workers have ended, after [`close`](Self::close) or [`terminate`](Self::terminate).
    ///
    /// # Errors
    /// [`PoolError::StillOpen`] before either; what broke the pool, if something did.
    fn join(&self) -> Result<(), PoolError>;

    /// What the pool has done and is doing.
    fn stats(&self) -> Stats;

    /// Runs `f(args…)` in a worker, and waits for what it returns.
    ///
    /// # Errors
    /// Each way in which a task can end without a result has its own variant of [`TaskError`].
    fn apply<F, A>(&self, f: F, args: A) -> Result<F::Output, TaskError>
    where
        F: Target<A> + Send,
        A: Serialize + DeserializeOwned + Send + 'static,
        F::Output: Serialize + DeserializeOwned + Send + 'static,
    {
        self.apply_async(f, args).get()
    }

    /// Gives `f(args…)` to the pool, and returns at once. What goes wrong is the task's error.
    #[doc(alias = "submit")]
    fn apply_async<F, A>(&self, f: F, args: A) -> Task<F::Output>
    where
        F: Target<A> + Send,
        A: Serialize + DeserializeOwned + Send + 'static,
        F::Output: Serialize + DeserializeOwned + Send + 'static,
    {
        self.give_task(f, args, Terms::default())
    }

    /// `f` of every item, in their order. Waits for all of them.
    ///
    /// # Errors
    /// The first item's that failed; the rest may or may not have run.
    fn map<F, I, R>(&self, f: F, items: I) -> Result<Vec<R>, TaskError>
    where
        F: Fn(I::Item) -> R + Copy + Send + Sync + 'static,
        I: IntoIterator<Item: Serialize + DeserializeOwned + Send + 'static>,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        stream::map(items.into_iter(), self.cut_of_maps(), self.feed(f, Terms::default()), None)
    }

    /// As [`map`](Self::map), in the background: reads all of `items` now, and returns at once.
    fn map_async<F, I, R>(&self, f: F, items: I) -> Task<Vec<R>>
    where
        F: Fn(I::Item) -> R + Copy + Send + Sync + 'static,
        I: IntoIterator<Item: Serialize + DeserializeOwned + Send + 'static>,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        gather::gather(items.into_iter(), self.cut_of_maps(), self.feed(f, Terms::default()))
    }

    /// As [`map`](Self::map), for an `f` of several arguments and an iterator of tuples.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    fn starmap<F, I>(&self, f: F, items: I) -> Result<Vec<F::Output>, TaskError>
    where
        F: Target<I::Item> + Send + Sync,
        I: IntoIterator<Item: Serialize + DeserializeOwned + Send + 'static>,
        F::Output: Serialize + DeserializeOwned + Send + 'static,
    {
        self.map(move |args| f.call(args), items)
    }

    /// `f` of every item, lazily: reads `items` only as far ahead as the window allows, and yields in their order.
    fn imap<F, I, R>(&self, f: F, items: I) -> Imap<I::IntoIter, R>
    where
        F: Fn(I::Item) -> R + Copy + Send + Sync + 'static,
        I: IntoIterator<Item: Serialize + DeserializeOwned + Send + 'static>,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        Imap::new(items.into_iter(), self.cut_of_maps(), self.feed(f, Terms::default()))
    }

    /// As [`imap`](Self::imap), but yields each result as soon as it is there.
    fn imap_unordered<F, I, R>(&self, f: F, items: I) -> ImapUnordered<I::IntoIter, R>
    where
        F: Fn(I::Item) -> R + Copy + Send + Sync + 'static,
        I: IntoIterator<Item: Serialize + DeserializeOwned + Send + 'static>,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        ImapUnordered::new(items.into_iter(), self.cut_of_maps(), self.feed(f, Terms::default()))
    }
}
