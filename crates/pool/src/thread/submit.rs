//! Tasks and maps with terms of their own, for a pool of threads. Nothing can be taken from a thread by force, so there is
//! neither a time-out nor a limit on memory, and nothing dies that a task could be tried again after.

use super::ThreadPool;
use crate::{
    CallOnce, Full, Imap, ImapUnordered, MapBuilder, Task, TaskBuilder, TaskError, bound::Bound, gather, stream,
    terms::Named,
};

impl ThreadPool {
    /// The task `f(args…)`, to be given a name of its own and [submitted](TaskBuilder::submit).
    ///
    /// # Examples
    /// ```
    /// let pool = pool::ThreadPool::new(2)?;
    /// let task = pool.task(|a: u64, b: u64| a * b, (6, 7)).name("product").submit();
    /// assert_eq!((task.name(), task.get()?), (Some("product"), 42));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn task<F, A>(&self, f: F, args: A) -> TaskBuilder<'_, Self, F, A>
    where
        F: CallOnce<A> + Send + 'static,
        A: Send + 'static,
        F::Output: Send + 'static,
    {
        TaskBuilder::new(self, f, args)
    }

    /// `f` of every item, to be given terms of its own and begun by one of [`map`](MapBuilder::map),
    /// [`map_async`](MapBuilder::map_async), [`imap`](MapBuilder::imap) and [`imap_unordered`](MapBuilder::imap_unordered).
    ///
    /// # Examples
    /// ```
    /// let pool = pool::ThreadPool::new(2)?;
    /// assert_eq!(pool.tasks(|n| n * n, 0..4).chunk_size(2).map()?, [0, 1, 4, 9]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tasks<F, I, R>(&self, f: F, items: I) -> MapBuilder<'_, Self, F, I>
    where
        F: Fn(I::Item) -> R + Send + Sync + 'static,
        I: IntoIterator<Item: Send + 'static>,
        R: Send + 'static,
    {
        MapBuilder::new(self, f, items)
    }
}

impl<F, A> TaskBuilder<'_, ThreadPool, F, A>
where
    F: CallOnce<A> + Send + 'static,
    A: Send + 'static,
    F::Output: Send + 'static,
{
    /// Gives it to the pool, as [`apply_async`](ThreadPool::apply_async) does. What goes wrong is the task's error.
    ///
    /// Blocks only while the pool has [as many tasks as it may](crate::ThreadPoolBuilder::max_pending).
    pub fn submit(self) -> Task<F::Output> {
        let permit = self.pool.permit();
        Named::task(self.terms.name, self.pool.give(self.f, self.args, permit))
    }

    /// As [`submit`](Self::submit), unless the pool has [as many tasks as it may](crate::ThreadPoolBuilder::max_pending).
    /// Never blocks.
    ///
    /// # Errors
    /// [`Full`], with the function and the arguments.
    pub fn try_submit(self) -> Result<Task<F::Output>, Full<F, A>> {
        match self.pool.bound.as_ref().map(Bound::try_acquire) {
            Some(None) => Err(Full(self.f, self.args)),
            permit => Ok(Named::task(self.terms.name, self.pool.give(self.f, self.args, permit.flatten()))),
        }
    }
}

impl<F, I, R> MapBuilder<'_, ThreadPool, F, I>
where
    F: Fn(I::Item) -> R + Send + Sync + 'static,
    I: IntoIterator<Item: Send + 'static>,
    R: Send + 'static,
{
    /// All results, in their order: [`ThreadPool::map`].
    ///
    /// # Errors
    /// As there.
    pub fn map(self) -> Result<Vec<R>, TaskError> {
        let cut = self.cut(self.pool.cut.clone());
        stream::map(self.items.into_iter(), cut, self.pool.submit(self.f), None)
    }

    /// As [`map`](Self::map), in the background: [`ThreadPool::map_async`].
    pub fn map_async(self) -> Task<Vec<R>> {
        let cut = self.cut(self.pool.cut.clone());
        Named::task(self.terms.name, gather::gather(self.items.into_iter(), cut, self.pool.submit(self.f)))
    }

    /// The results, lazily and in their order: [`ThreadPool::imap`].
    pub fn imap(self) -> Imap<I::IntoIter, R> {
        let cut = self.cut(self.pool.cut.clone());
        Imap::new(self.items.into_iter(), cut, self.pool.submit(self.f))
    }

    /// The results, each as soon as it is there: [`ThreadPool::imap_unordered`].
    pub fn imap_unordered(self) -> ImapUnordered<I::IntoIter, R> {
        let cut = self.cut(self.pool.cut.clone());
        ImapUnordered::new(self.items.into_iter(), cut, self.pool.submit(self.f))
    }
}
