//! Tasks and maps with terms of their own, for a pool of processes.

use proc_core::Target;
use serde::{Serialize, de::DeserializeOwned};

use super::ProcessPool;
use crate::{
    Full, Imap, ImapUnordered, MapBuilder, Task, TaskBuilder, TaskError,
    bound::Bound,
    gather, stream,
    terms::{HasProcesses, Named},
};

impl ProcessPool {
    /// The task `f(args…)`, to be given terms of its own and [submitted](TaskBuilder::submit).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use pool::{ProcessPool, TaskError};
    ///
    /// fn nap(millis: u64) -> u64 {
    ///     std::thread::sleep(Duration::from_millis(millis));
    ///     millis
    /// }
    ///
    /// let pool = ProcessPool::builder().workers(2).task_timeout(Duration::from_secs(60)).build()?;
    /// let hasty = pool.task(nap, (60_000,)).timeout(Duration::from_millis(50)).name("hasty").submit();
    /// let patient = pool.task(nap, (1,)).retries(2).memory_limit(64 << 20).submit();
    /// assert_eq!((hasty.get(), hasty.name()), (Err(TaskError::TimedOut), Some("hasty")));
    /// assert_eq!(patient.get()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "schedule")]
    pub fn task<F, A>(&self, f: F, args: A) -> TaskBuilder<'_, Self, F, A>
    where
        F: Target<A>,
        A: Serialize + DeserializeOwned + Send + 'static,
        F::Output: Serialize + DeserializeOwned + Send + 'static,
    {
        TaskBuilder::new(self, f, args)
    }

    /// `f` of every item, to be given terms of its own and begun by one of [`map`](MapBuilder::map),
    /// [`map_async`](MapBuilder::map_async), [`imap`](MapBuilder::imap) and [`imap_unordered`](MapBuilder::imap_unordered).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use pool::{ProcessPool, TaskError};
    ///
    /// fn parse(n: u64) -> u64 {
    ///     if n == 1 {
    ///         std::thread::sleep(Duration::from_secs(60))
    ///     }
    ///     n * 2
    /// }
    ///
    /// let pool = ProcessPool::new(2)?;
    /// let results: Vec<_> = pool.tasks(parse, 0..3).timeout(Duration::from_millis(50)).imap().collect();
    /// assert_eq!(results, [Ok(0), Err(TaskError::TimedOut), Ok(4)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tasks<F, I, R>(&self, f: F, items: I) -> MapBuilder<'_, Self, F, I>
    where
        F: Fn(I::Item) -> R + Copy + Send + 'static,
        I: IntoIterator<Item: Serialize + DeserializeOwned + Send + 'static>,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        MapBuilder::new(self, f, items)
    }
}

impl<F, A> TaskBuilder<'_, ProcessPool, F, A>
where
    F: Target<A>,
    A: Serialize + DeserializeOwned + Send + 'static,
    F::Output: Serialize + DeserializeOwned + Send + 'static,
{
    /// Gives it to the pool, as [`apply_async`](ProcessPool::apply_async) does. What goes wrong is the task's error.
    ///
    /// Blocks only while the pool has [as many tasks as it may](crate::ProcessPoolBuilder::max_pending).
    pub fn submit(self) -> Task<F::Output> {
        let permit = self.pool.bound.as_ref().map(Bound::acquire);
        let name = self.terms.name.clone();
        Named::task(name, self.pool.give(self.f, self.args, permit, self.terms))
    }

    /// As [`submit`](Self::submit), unless the pool has [as many tasks as it may](crate::ProcessPoolBuilder::max_pending).
    /// Never blocks.
    ///
    /// # Errors
    /// [`Full`], with the function and the arguments.
    pub fn try_submit(self) -> Result<Task<F::Output>, Full<F, A>> {
        match self.pool.bound.as_ref().map(Bound::try_acquire) {
            Some(None) => Err(Full(self.f, self.args)),
            permit => {
                let name = self.terms.name.clone();
                Ok(Named::task(name, self.pool.give(self.f, self.args, permit.flatten(), self.terms)))
            }
        }
    }
}

impl HasProcesses for ProcessPool {}

impl<F, I, R> MapBuilder<'_, ProcessPool, F, I>
where
    F: Fn(I::Item) -> R + Copy + Send + 'static,
    I: IntoIterator<Item: Serialize + DeserializeOwned + Send + 'static>,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    /// All results, in their order: [`ProcessPool::map`].
    ///
    /// # Errors
    /// As there.
    pub fn map(self) -> Result<Vec<R>, TaskError> {
        let cut = self.cut(self.pool.cut());
        stream::map(self.items.into_iter(), cut, self.pool.feeder(self.f, self.terms), None)
    }

    /// As [`map`](Self::map), in the background: [`ProcessPool::map_async`].
    pub fn map_async(self) -> Task<Vec<R>> {
        let (cut, name) = (self.cut(self.pool.cut()), self.terms.name.clone());
        Named::task(name, gather::gather(self.items.into_iter(), cut, self.pool.feeder(self.f, self.terms)))
    }

    /// The results, lazily and in their order: [`ProcessPool::imap`].
    pub fn imap(self) -> Imap<I::IntoIter, R> {
        let cut = self.cut(self.pool.cut());
        Imap::new(self.items.into_iter(), cut, self.pool.feeder(self.f, self.terms))
    }

    /// The results, each as soon as it is there: [`ProcessPool::imap_unordered`].
    pub fn imap_unordered(self) -> ImapUnordered<I::IntoIter, R> {
        let cut = self.cut(self.pool.cut());
        ImapUnordered::new(self.items.into_iter(), cut, self.pool.feeder(self.f, self.terms))
    }
}
