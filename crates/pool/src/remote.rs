//! Tasks and maps with terms of their own, for a pool that is not one of this crate's.

use proc_core::Target;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Executor, Imap, ImapUnordered, MapBuilder, Task, TaskBuilder, TaskError, gather, stream,
    terms::{HasProcesses, Named},
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

impl<P: Remote> HasProcesses for P {}

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
        let cut = self.cut(self.pool.cut_of_maps());
        stream::map(self.items.into_iter(), cut, self.pool.feed(self.f, self.terms), None)
    }

    /// As [`map`](Self::map), in the background.
    pub fn map_async(self) -> Task<Vec<R>> {
        let (cut, name) = (self.cut(self.pool.cut_of_maps()), self.terms.name.clone());
        Named::task(name, gather::gather(self.items.into_iter(), cut, self.pool.feed(self.f, self.terms)))
    }

    /// The results, lazily and in their order.
    pub fn imap(self) -> Imap<I::IntoIter, R> {
        let cut = self.cut(self.pool.cut_of_maps());
        Imap::new(self.items.into_iter(), cut, self.pool.feed(self.f, self.terms))
    }

    /// The results, each as soon as it is there.
    pub fn imap_unordered(self) -> ImapUnordered<I::IntoIter, R> {
        let cut = self.cut(self.pool.cut_of_maps());
        ImapUnordered::new(self.items.into_iter(), cut, self.pool.feed(self.f, self.terms))
    }
}
