//! A queue between threads that can be joined.

use std::{
    fmt, mem,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{item::Item, lending::Lending, many::put_all, shelf::ShelfEntry, wakers::Wakers};
use crate::{GetError, GetTimeoutError, PutError, PutTimeoutError, TryGetError, TryPutError, time::remaining};

/// A queue between threads that knows when everything put into it has been dealt with: first in, first out, unless it
/// was made by [`lifo`](Self::lifo) or [`priority`](Self::priority).
///
/// `get` lends an [`Item`]: it counts as unfinished until its [`task_done`](Item::task_done). An item that is dropped
/// without it (because its thread panicked, say) goes back to the head of the queue, marked as redelivered. After
/// [`max_deliveries`](super::Builder::max_deliveries) such deliveries (5 unless said) it becomes a dead letter, which counts as done
/// and waits in [`dead_letters`](Self::dead_letters).
///
/// Clones are the same queue.
///
/// # Examples
/// ```
/// use ipc::thread::JoinableQueue;
///
/// let queue = JoinableQueue::new(0);
/// queue.put("bread")?;
/// std::thread::scope(|s| {
///     s.spawn(|| {
///         let item = queue.get().unwrap();
///         assert_eq!(*item, "bread");
///         item.task_done();
///     });
///     queue.join();
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct JoinableQueue<T>(Arc<Lending<T>>);

impl<T> JoinableQueue<T> {
    pub(super) fn from_lending(lending: Lending<T>) -> Self {
        Self(Arc::new(lending))
    }

    /// Puts a value, waiting while the queue is full.
    ///
    /// # Errors
    /// `Closed` with the value, also if the queue is closed during the wait.
    pub fn put(&self, value: T) -> Result<(), PutError<T>> {
        self.counted(value, |entry| self.0.monitor.put(entry)).map_err(|e| PutError::Closed(e.into_inner().value))
    }

    /// Puts a value if there is room now.
    ///
    /// # Errors
    /// `Full` or `Closed` with the value.
    #[doc(alias = "put_nowait")]
    pub fn try_put(&self, value: T) -> Result<(), TryPutError<T>> {
        self.counted(value, |entry| self.0.monitor.try_put(entry)).map_err(|e| match e {
            TryPutError::Full(entry) => TryPutError::Full(entry.value),
            e => TryPutError::Closed(e.into_inner().value),
        })
    }

    /// Puts a value, waiting at most `timeout` for room.
    ///
    /// # Errors
    /// `TimedOut` or `Closed` with the value.
    pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), PutTimeoutError<T>> {
        self.counted(value, |entry| self.0.monitor.put_until(entry, Some(timeout))).map_err(|e| match e {
            PutTimeoutError::TimedOut(entry) => PutTimeoutError::TimedOut(entry.value),
            e => PutTimeoutError::Closed(e.into_inner().value),
        })
    }

    /// Puts a value, waiting for room until `deadline`.
    ///
    /// # Errors
    /// As [`put_timeout`](Self::put_timeout).
    pub fn put_deadline(&self, value: T, deadline: Instant) -> Result<(), PutTimeoutError<T>> {
        self.put_timeout(value, remaining(deadline))
    }

    /// Puts all values, waiting whenever the queue is full.
    ///
    /// # Errors
    /// `Closed` with those that were not put.
    pub fn put_many(&self, values: impl IntoIterator<Item = T>) -> Result<(), PutError<Vec<T>>> {
        put_all(values, |value| self.put(value))
    }

    /// Puts a value; a future, for any runtime or none. Dropped before its end, it has put nothing.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn put_async(&self, value: T) -> Result<(), PutError<T>> {
        self.0.monitor.putters.put_when_woken(value, |value| self.try_put(value)).await
    }

    /// Takes the next item, waiting while there is none.
    ///
    /// # Errors
    /// `Closed` once the queue is closed and empty.
    pub fn get(&self) -> Result<Item<T>, GetError> {
        self.0.monitor.get().map(|entry| self.lend(entry))
    }

    /// Takes the next item if there is one now.
    ///
    /// # Errors
    /// `Empty`; `Closed` once the queue is closed and empty.
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<Item<T>, TryGetError> {
        self.0.monitor.try_get().map(|entry| self.lend(entry))
    }

    /// Takes the next item, waiting at most `timeout` for one.
    ///
    /// # Errors
    /// `TimedOut`; `Closed` once the queue is closed and empty.
    pub fn get_timeout(&self, timeout: Duration) -> Result<Item<T>, GetTimeoutError> {
        self.0.monitor.get_until(Some(timeout)).map(|entry| self.lend(entry))
    }

    /// Takes the next item, waiting for one until `deadline`.
    ///
    /// # Errors
    /// As [`get_timeout`](Self::get_timeout).
    pub fn get_deadline(&self, deadline: Instant) -> Result<Item<T>, GetTimeoutError> {
        self.get_timeout(remaining(deadline))
    }

    /// Takes up to `max` items at once, waiting while there is none.
    ///
    /// # Errors
    /// `Closed` once the queue is closed and empty.
    pub fn get_many(&self, max: usize) -> Result<Vec<Item<T>>, GetError> {
        let entries = self.0.monitor.get_many(max)?;
        Ok(entries.into_iter().map(|entry| self.lend(entry)).collect())
    }

    /// Takes the next item; a future, for any runtime or none. Dropped before its end, it has taken nothing.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_async(&self) -> Result<Item<T>, GetError> {
        self.0.monitor.takers.get_when_woken(|| self.try_get()).await
    }

    /// Waits until every item that was put has been dealt with.
    pub fn join(&self) {
        let mut unfinished = self.0.unfinished.lock();
        self.0.all_done.wait_while(&mut unfinished, |n| *n > 0);
    }

    /// Waits until every item that was put has been dealt with, at most for `timeout`; false if some have not.
    pub fn join_timeout(&self, timeout: Duration) -> bool {
        let Some(deadline) = Instant::now().checked_add(timeout) else {
            self.join();
            return true;
        };
        self.join_deadline(deadline)
    }

    /// Waits until every item that was put has been dealt with, but no longer than until `deadline`; false if some have not.
    pub fn join_deadline(&self, deadline: Instant) -> bool {
        let mut unfinished = self.0.unfinished.lock();
        !self.0.all_done.wait_while_until(&mut unfinished, |n| *n > 0, deadline).timed_out()
    }

    /// Waits until every item that was put has been dealt with; a future, for any runtime or none.
    pub async fn join_async(&self) {
        self.0.joiners.until(|| (self.unfinished() == 0).then_some(())).await;
    }

    /// How many items have been put and not yet been dealt with: those that wait and those lent out.
    pub fn unfinished(&self) -> usize {
        *self.0.unfinished.lock()
    }

    /// Takes the dead letters: items that were delivered too often to threads that dropped them.
    pub fn dead_letters(&self) -> Vec<T> {
        mem::take(&mut self.0.dead_letters.lock())
    }

    /// How many items wait to be taken.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.0.monitor.len()
    }

    /// Whether no item waits to be taken.
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `put` would wait.
    #[doc(alias = "full")]
    pub fn is_full(&self) -> bool {
        self.0.monitor.is_full()
    }

    /// How many items wait in the queue at most; 0 is without limit.
    #[doc(alias = "capacity")]
    pub fn maxsize(&self) -> usize {
        self.0.monitor.maxsize()
    }

    /// Lets no more values in. What is in the queue can still be taken; then `get` reports `Closed`.
    pub fn close(&self) {
        self.0.monitor.close();
    }

    /// Lets no more values in, as [`close`](Self::close) does. If `immediate`, the items in the queue are dropped and count as
    /// done, so that [`join`](Self::join) waits for those only that are lent out.
    ///
    /// # References
    /// Python's [`queue.Queue.shutdown`](https://docs.python.org/3/library/queue.html#queue.Queue.shutdown).
    pub fn shutdown(&self, immediate: bool) {
        self.close();
        while immediate && let Ok(item) = self.try_get() {
            item.task_done();
        }
    }

    /// Whether [`close`](Self::close) has been called.
    pub fn is_closed(&self) -> bool {
        self.0.monitor.is_closed()
    }

    /// Whether two handles are the same queue.
    pub fn ptr_eq(a: &Self, b: &Self) -> bool {
        Arc::ptr_eq(&a.0, &b.0)
    }

    /// Takes items until the queue is closed and empty, waiting for each.
    pub fn iter(&self) -> JoinableIter<'_, T> {
        JoinableIter { queue: self }
    }

    pub(super) fn takers(&self) -> &Wakers {
        &self.0.monitor.takers
    }

    pub(super) fn putters(&self) -> &Wakers {
        &self.0.monitor.putters
    }

    /// Counts the value before it can be taken, so that no consumer is done with it before it counts.
    fn counted<E>(&self, value: T, put: impl FnOnce(ShelfEntry<T>) -> Result<(), E>) -> Result<(), E> {
        self.0.begin(1);
        put(ShelfEntry { value, deliveries: 0 }).inspect_err(|_| self.0.finish(1))
    }

    fn lend(&self, entry: ShelfEntry<T>) -> Item<T> {
        Item::new(entry, Arc::clone(&self.0))
    }
}

impl<T> Clone for JoinableQueue<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for JoinableQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinableQueue").field("len", &self.len()).field("unfinished", &self.unfinished()).finish()
    }
}

impl<'a, T> IntoIterator for &'a JoinableQueue<T> {
    type Item = Item<T>;
    type IntoIter = JoinableIter<'a, T>;

    fn into_iter(self) -> JoinableIter<'a, T> {
        self.iter()
    }
}

/// Takes items from a [`JoinableQueue`]; ends when it is closed and empty.
#[derive(Debug)]
pub struct JoinableIter<'a, T> {
    queue: &'a JoinableQueue<T>,
}

impl<T> Iterator for JoinableIter<'_, T> {
    type Item = Item<T>;

    fn next(&mut self) -> Option<Item<T>> {
        self.queue.get().ok()
    }
}
