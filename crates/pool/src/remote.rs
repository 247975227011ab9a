//! Tasks and maps with terms of their own, for a pool that is not one of this crate's.

use std::time::Duration;

use proc_core::Target;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Executor, Imap, ImapUnordered, MapBuilder, Task, TaskBuilder, TaskError, gather,
    stream::{self, Cut},
    terms::Named,
};

/// A pool whose tasks run in processes, of which it can see to the terms.
pub trait Remote: Executor + Sized {
    /// As of [`ProcessPool::task`](crate::ProcessPool::task).
    fn task_builder<F, A>(&self, f: F, args: A) -> TaskBuilder<'_, Self, F, A> {
        TaskBuilder::new(self, f, args)
    }

    /// As of [`ProcessPool::tasks`](crate::ProcessPool::tasks).
    fn map_builder<F, I>(&self, f: F, items: I) -> MapBuilder<'_, Self, F, I> {
        MapBuilder::new(self, f, items)
    }
}

impl<P: Remote, F, A> TaskBuilder<'_, P, F, A> {
    /// The longest that it may run in its worker; the time in the queue does not count.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.terms.timeout = Some(timeout);
        self
    }

    /// How often it is tried again after the worker process that ran it died.
    pub fn retries(mut self, n: u32) -> Self {
        self.terms.retries = Some(n);
        self
    }

    /// How many bytes of private memory it may take on top of what its worker has.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.terms.memory_limit = Some(bytes);
        self
    }
}

impl<P: Remote, F, A> TaskBuilder<'_, P, F, A>
where
    F: Target<A> + Send,
    A: Serialize + DeserializeOwned + Send + 'static,
    F::Output: Serialize + DeserializeOwned + Send + 'static,
{
    /// Gives it to the pool. What goes wrong is the task's error.
    pub fn submit(self) -> Task<F::Output> {
        self.pool.give_task(self.f, self.args, self.terms)
    }
}

impl<P: Remote, F, I> MapBuilder<'_, P, F, I> {
    /// The longest that one of its tasks may run. It also makes every item a task of its own, unless there is a
    /// [`chunk_size`](Self::chunk_size), of the map or of the pool: then the time is for the chunk.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.terms.timeout = Some(timeout);
        self
    }

    /// How often an item is tried again after the worker process that ran it died.
    pub fn retries(mut self, n: u32) -> Self {
        self.terms.retries = Some(n);
        self
    }

    /// How many bytes of private memory each of its tasks may take, of which one is a chunk of items.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.terms.memory_limit = Some(bytes);
        self
    }

    fn cut(&self) -> Cut {
        let of_pool = self.pool.cut_of_maps();
        let chunk_size = self.chunk_size.or(of_pool.chunk_size).or(self.terms.timeout.map(|_| 1));
        Cut { chunk_size, window: self.window.or(of_pool.window), ..of_pool }
    }
}

impl<P: Remote, F, I, R> MapBuilder<'_, P, F, I>
where
    F: Fn(I::Item) -> R + Copy + Send + Sync + 'static,
    I: IntoIterator<Item: Serialize + DeserializeOwned + Send + 'static>,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    /// All results, in their order.
    ///
    /// # Errors
    /// The first item's that failed; the rest may or may not have run.
    pub fn map(self) -> Result<Vec<R>, TaskError> {
        let cut = self.cut();
        stream::map(self.items.into_iter(), cut, self.pool.feed(self.f, self.terms), None)
    }

    /// As [`map`](Self::map), in the background.
    pub fn map_async(self) -> Task<Vec<R>> {
        let (cut, name) = (self.cut(), self.terms.name.clone());
        Named::task(name, gather::gather(self.items.into_iter(), cut, self.pool.feed(self.f, self.terms)))
    }

    /// The results, lazily and in their order.
    pub fn imap(self) -> Imap<I::IntoIter, R> {
        let cut = self.cut();
        Imap::new(self.items.into_iter(), cut, self.pool.feed(self.f, self.terms))
    }

    /// The results, each as soon as it is there.
    pub fn imap_unordered(self) -> ImapUnordered<I::IntoIter, R> {
        let cut = self.cut();
        ImapUnordered::new(self.items.into_iter(), cut, self.pool.feed(self.f, self.terms))
    }
}
