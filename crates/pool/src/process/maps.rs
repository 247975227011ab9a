//! `map` and its like: one function on many items, in tasks of several items each.

use std::{sync::Arc, time::Duration};

use kernel::futex::Deadline;
use proc_core::Target;
use serde::{Serialize, de::DeserializeOwned};

use super::{ProcessPool, chunk, items::Items};
use crate::{
    Imap, ImapUnordered, Task, TaskError,
    stream::{self, Chunk, Cut, Submit},
    task::{FailedTask, Handle},
    terms::Terms,
};

impl ProcessPool {
    /// `f` of every item, in their order. Waits for all of them.
    ///
    /// # Errors
    /// The first item's that failed; the rest may or may not have run.
    pub fn map<F, I, R>(&self, f: F, items: I) -> Result<Vec<R>, TaskError>
    where
        F: Fn(I::Item) -> R + Copy + Send + 'static,
        I: IntoIterator<Item: Serialize + DeserializeOwned + Send + 'static>,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        stream::map(items.into_iter(), self.cut(), self.feeder(f, Terms::default()), None)
    }

    /// As [`map`](Self::map), with so many items to a task, whatever the pool's own
    /// [`chunk_size`](super::ProcessPoolBuilder::chunk_size).
    ///
    /// # Errors
    /// As [`map`](Self::map).
    #[doc(alias = "chunksize")]
    pub fn map_chunked<F, I, R>(&self, f: F, items: I, chunk_size: usize) -> Result<Vec<R>, TaskError>
    where
        F: Fn(I::Item) -> R + Copy + Send + 'static,
        I: IntoIterator<Item: Serialize + DeserializeOwned + Send + 'static>,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        stream::map(items.into_iter(), self.cut().with_chunk_size(chunk_size), self.feeder(f, Terms::default()), None)
    }

    /// As [`map`](Self::map), for at most `timeout`; what is under way then is [cancelled](Task::cancel).
    ///
    /// # Errors
    /// As [`map`](Self::map), and [`TaskError::TimedOut`].
    pub fn map_timeout<F, I, R>(&self, f: F, items: I, timeout: Duration) -> Result<Vec<R>, TaskError>
    where
        F: Fn(I::Item) -> R + Copy + Send + 'static,
        I: IntoIterator<Item: Serialize + DeserializeOwned + Send + 'static>,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        stream::map(items.into_iter(), self.cut(), self.feeder(f, Terms::default()), Deadline::after(timeout))
    }

    /// As [`map`](Self::map), over items that are not given away: `f` takes a reference, to a copy in the worker.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    ///
    /// # Examples
    /// ```
    /// let words = ["one".to_string(), "three".to_string()];
    /// let pool = pool::ProcessPool::new(2)?;
    /// assert_eq!(pool.map_slice(|word: &String| word.len(), &words)?, [3, 5]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map_slice<F, T, R>(&self, f: F, items: &[T]) -> Result<Vec<R>, TaskError>
    where
        F: Fn(&T) -> R + Copy + Send + 'static,
        T: Clone + Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        self.map(move |item| f(&item), items.iter().cloned())
    }

    /// As [`map`](Self::map), in the background: reads all of `items` now, and returns at once.
    pub fn map_async<F, I, R>(&self, f: F, items: I) -> Task<Vec<R>>
    where
        F: Fn(I::Item) -> R + Copy + Send + 'static,
        I: IntoIterator<Item: Serialize + DeserializeOwned + Send + 'static>,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        crate::gather::gather(items.into_iter(), self.cut(), self.feeder(f, Terms::default()))
    }

    /// As [`map`](Self::map), for an `f` of several arguments and an iterator of tuples.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn starmap<F, I>(&self, f: F, items: I) -> Result<Vec<F::Output>, TaskError>
    where
        F: Target<I::Item> + Send,
        I: IntoIterator<Item: Serialize + DeserializeOwned + Send + 'static>,
        F::Output: Serialize + DeserializeOwned + Send + 'static,
    {
        self.map(move |args| f.call(args), items)
    }

    /// As [`starmap`](Self::starmap), in the background: reads all of `items` now, and returns at once.
    pub fn starmap_async<F, I>(&self, f: F, items: I) -> Task<Vec<F::Output>>
    where
        F: Target<I::Item> + Send,
        I: IntoIterator<Item: Serialize + DeserializeOwned + Send + 'static>,
        F::Output: Serialize + DeserializeOwned + Send + 'static,
    {
        self.map_async(move |args| f.call(args), items)
    }

    /// `f` of every item, lazily: reads `items` only as far ahead as the window allows, and yields in their order.
    pub fn imap<F, I, R>(&self, f: F, items: I) -> Imap<I::IntoIter, R>
    where
        F: Fn(I::Item) -> R + Copy + Send + 'static,
        I: IntoIterator<Item: Serialize + DeserializeOwned + Send + 'static>,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        Imap::new(items.into_iter(), self.cut(), self.feeder(f, Terms::default()))
    }

    /// As [`imap`](Self::imap), but yields each result as soon as it is there.
    pub fn imap_unordered<F, I, R>(&self, f: F, items: I) -> ImapUnordered<I::IntoIter, R>
    where
        F: Fn(I::Item) -> R + Copy + Send + 'static,
        I: IntoIterator<Item: Serialize + DeserializeOwned + Send + 'static>,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        ImapUnordered::new(items.into_iter(), self.cut(), self.feeder(f, Terms::default()))
    }

    pub(super) fn cut(&self) -> Cut {
        self.cut.clone()
    }

    pub(super) fn feeder<F, A, R>(&self, f: F, terms: Terms) -> Submit<A, R>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        let shared = self.shared.clone();
        let mut open = shared.open_input();
        let terms = terms.kept();
        let mut n_given = 0;
        let mut with_place = move |items: Vec<A>| {
            let n_before = n_given;
            n_given += items.len();
            Items { items, unread: Vec::new(), n_before }
        };
        Box::new(move |items| match chunk::job(&shared, f, with_place(items), terms.clone()) {
            Ok(job) => {
                match &mut open {
                    Some(open) => {
                        open.is_read();
                        shared.submit_of_input(job.clone());
                    }
                    None => shared.submit(job.clone()),
                }
                Task(job as Arc<dyn Handle<Chunk<R>>>)
            }
            Err(why) => FailedTask::task(why),
        })
    }
}
