//! A queue between processes that knows when everything put into it has been dealt with.

mod bytes;
mod item;
mod iter;

use std::{
    fmt, io,
    marker::PhantomData,
    sync::Arc,
    time::{Duration, Instant},
};

use kernel::handover;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, de::DeserializeOwned};

pub use self::{
    item::Item,
    iter::{Drain, IntoIter, Iter},
};
use crate::{
    GetError, GetTimeoutError, PutError, PutTimeoutError, TryGetError, TryPutError,
    queue::{Builder, GetStop, Patience, Raw, caught, put_all},
};

/// A bounded first-in first-out queue between processes that lends its items out and knows which are done.
///
/// As a [`Queue`](crate::Queue), but `get` lends an [`Item`]: it counts as unfinished until its
/// [`task_done`](Item::task_done), and [`join`](Self::join) waits until none is unfinished.
///
/// **Delivery: at least once.** An item whose holder dies, or drops it without `task_done`, is delivered again, to the
/// next getter and ahead of the queue, marked as [`redelivered`](Item::redelivered); that getter may be repeating
/// what was done before. After [`max_deliveries`](Builder::max_deliveries) such deliveries (5 unless said) it becomes
/// a dead letter, which counts as done and waits in [`dead_letters`](Self::dead_letters). An item that is held for long
/// does not hold up others: it has left the ring.
///
/// # Crash safety
/// Whatever process is killed, at whatever instruction: an item whose `put` has returned is delivered until a holder's
/// `task_done` has returned; then never again. What is unfinished is not counted but looked up, so it is never wrong.
/// A process that waits in `get` or `join` notices a dead holder within some 20 ms.
///
/// # Examples
/// ```
/// use ipc::JoinableQueue;
/// use proc_core::Process;
///
/// fn eat(dishes: JoinableQueue<String>) {
///     for dish in &dishes {
///         println!("eating {}", *dish);
///         dish.task_done();
///     }
/// }
///
/// let dishes = JoinableQueue::new(0)?;
/// let eater = Process::builder().daemon(true).spawn(eat, (dishes.clone(),))?;
/// dishes.put("pasta".into())?;
/// dishes.put("salad".into())?;
/// dishes.join()?; // returns once both are eaten
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # References
/// Python's
/// [`multiprocessing.JoinableQueue`](https://docs.python.org/3/library/multiprocessing.html#multiprocessing.JoinableQueue);
/// there `task_done` is the queue's, does not say which item it means, and never comes from a consumer that died.
pub struct JoinableQueue<T> {
    raw: Arc<Raw>,
    item: PhantomData<fn(T) -> T>,
}

impl<T: Serialize + DeserializeOwned> Builder<T> {
    /// Makes a queue of items on loan with these settings.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_joinable(self) -> io::Result<JoinableQueue<T>> {
        Ok(JoinableQueue::from_raw(self.build_raw(true)?))
    }
}

impl<T: Serialize + DeserializeOwned> JoinableQueue<T> {
    /// Makes a queue in which `maxsize` items can wait; with 0, it grows with what is in it.
    ///
    /// # Errors
    /// If memory or descriptors are short.
    pub fn new(maxsize: usize) -> io::Result<Self> {
        Self::builder().maxsize(maxsize).build_joinable()
    }
}

impl<T> JoinableQueue<T> {
    /// Settings for a queue; end with [`build_joinable`](Builder::build_joinable).
    pub fn builder() -> Builder<T> {
        crate::Queue::builder()
    }

    pub(crate) fn from_raw(raw: Raw) -> Self {
        Self { raw: Arc::new(raw), item: PhantomData }
    }

    pub(crate) fn raw(&self) -> &Arc<Raw> {
        &self.raw
    }

    /// Waits until every item that was put has been dealt with: those put meanwhile too.
    ///
    /// Waits also for items that no process takes, and does not wait for dead letters.
    ///
    /// # Errors
    /// [`GetError::Damaged`] if another process has overwritten the queue's memory.
    ///
    /// # Crash safety
    /// A consumer that dies does not hold `join` up if there is another to take its items: they are delivered again.
    pub fn join(&self) -> Result<(), GetError> {
        self.join_for(Patience::Forever).map(drop)
    }

    /// Waits until every item that was put has been dealt with, at most for `timeout`; false if some have not.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, GetError> {
        self.join_for(Patience::For(timeout))
    }

    /// Waits until every item that was put has been dealt with, but no longer than until `deadline`; false if some have not.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn join_deadline(&self, deadline: Instant) -> Result<bool, GetError> {
        self.join_for(Patience::until(deadline))
    }

    fn join_for(&self, patience: Patience) -> Result<bool, GetError> {
        self.raw.join(patience).map_err(|stop| GetStop::from(stop).into_get_error())
    }

    /// How many items have been put and not yet been dealt with: those that wait and those lent out.
    pub fn unfinished(&self) -> usize {
        self.raw.unfinished()
    }

    /// How many items wait in the ring to be taken.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether no item waits in the ring to be taken.
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Whether there is no room to put right now.
    #[doc(alias = "full")]
    pub fn is_full(&self) -> bool {
        self.raw.is_full()
    }

    /// How many items can wait in it.
    #[doc(alias = "capacity")]
    pub fn maxsize(&self) -> usize {
        self.raw.maxsize()
    }

    /// Closes the queue for all its users: from now on putting is an error, and getting is one once nothing is left
    /// to take. Items still lent out can be done, or come back when their holder dies, for a getter that asks again.
    ///
    /// Python's `JoinableQueue.close()`, by which one process says that *it* puts no more, is to drop the handle.
    pub fn close(&self) {
        self.raw.close();
    }

    /// Closes the queue for all its users, as [`close`](Self::close) does. If `immediate`, the items in it are thrown away and
    /// count as done, so that [`join`](Self::join) waits for those only that are lent out.
    ///
    /// # References
    /// Python's [`queue.Queue.shutdown`](https://docs.python.org/3/library/queue.html#queue.Queue.shutdown).
    pub fn shutdown(&self, immediate: bool) {
        self.close();
        while immediate && let Ok(lease) = self.raw.try_lease() {
            lease.done();
        }
    }

    /// Whether the queue has been closed.
    pub fn is_closed(&self) -> bool {
        self.raw.is_closed()
    }

    /// Whether two handles are the same queue, as far as this process knows: clones are.
    pub fn ptr_eq(a: &Self, b: &Self) -> bool {
        Arc::ptr_eq(&a.raw, &b.raw)
    }
}

impl<T: Serialize + DeserializeOwned> JoinableQueue<T> {
    /// Puts an item into the queue; waits for room while it is full.
    ///
    /// # Errors
    /// Gives the item back: if the queue is closed, or the item cannot be serialised or is too large, or there is no
    /// memory for it.
    pub fn put(&self, item: T) -> Result<(), PutError<T>> {
        self.raw.put_value(&item, Patience::Forever).map_err(|stop| stop.into_put_error(item))
    }

    /// Puts an item into the queue if there is room right now.
    ///
    /// # Errors
    /// As [`put`](Self::put), and [`TryPutError::Full`].
    #[doc(alias = "put_nowait")]
    pub fn try_put(&self, item: T) -> Result<(), TryPutError<T>> {
        self.raw.put_value(&item, Patience::Now).map_err(|stop| stop.into_try_put_error(item))
    }

    /// Puts an item into the queue; waits for room, but no longer than `timeout`.
    ///
    /// # Errors
    /// As [`put`](Self::put), and [`PutTimeoutError::TimedOut`].
    pub fn put_timeout(&self, item: T, timeout: Duration) -> Result<(), PutTimeoutError<T>> {
        self.raw.put_value(&item, Patience::For(timeout)).map_err(|stop| stop.into_put_timeout_error(item))
    }

    /// Puts an item into the queue; waits for room, but no longer than until `deadline`.
    ///
    /// # Errors
    /// As [`put_timeout`](Self::put_timeout).
    pub fn put_deadline(&self, item: T, deadline: Instant) -> Result<(), PutTimeoutError<T>> {
        self.raw.put_value(&item, Patience::until(deadline)).map_err(|stop| stop.into_put_timeout_error(item))
    }

    /// Puts all of `items`, one after another; waits for room whenever the queue is full.
    ///
    /// # Errors
    /// As [`put`](Self::put), with those that have not been put.
    pub fn put_many(&self, items: impl IntoIterator<Item = T>) -> Result<(), PutError<Vec<T>>> {
        put_all(items, |item| self.raw.put_value(item, Patience::Forever))
    }
}

impl<T: DeserializeOwned> JoinableQueue<T> {
    /// Borrows the next item; waits for one while the queue is empty.
    ///
    /// # Errors
    /// If the queue is closed and empty; if the item is no `T`, which then is a dead letter
    /// and counts as done.
    ///
    /// # Crash safety
    /// If this process is killed before [`task_done`](Item::task_done) has returned, the item is delivered again.
    pub fn get(&self) -> Result<Item<T>, GetError> {
        self.lend(Patience::Forever).map_err(GetStop::into_get_error)
    }

    /// Borrows the next item if there is one right now.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`TryGetError::Empty`].
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<Item<T>, TryGetError> {
        self.lend(Patience::Now).map_err(GetStop::into_try_get_error)
    }

    /// Borrows the next item; waits for one, but no longer than `timeout`.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`GetTimeoutError::TimedOut`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<Item<T>, GetTimeoutError> {
        self.lend(Patience::For(timeout)).map_err(GetStop::into_get_timeout_error)
    }

    /// Borrows the next item; waits for one, but no longer than until `deadline`.
    ///
    /// # Errors
    /// As [`get_timeout`](Self::get_timeout).
    pub fn get_deadline(&self, deadline: Instant) -> Result<Item<T>, GetTimeoutError> {
        self.lend(Patience::until(deadline)).map_err(GetStop::into_get_timeout_error)
    }

    /// Borrows up to `max` items: waits for the first, and takes what else is there.
    ///
    /// # Errors
    /// As [`get`](Self::get), of the first item.
    pub fn get_many(&self, max: usize) -> Result<Vec<Item<T>>, GetError> {
        let mut items = Vec::new();
        if max > 0 {
            items.push(self.get()?);
        }
        while items.len() < max {
            match self.lend(Patience::Now) {
                Ok(item) => items.push(item),
                Err(GetStop::Decode(_)) => {}
                Err(_) => break,
            }
        }
        Ok(items)
    }

    /// Takes the dead letters: items that were delivered too often to processes that died or dropped them.
    ///
    /// They stay in the queue's memory, whichever process dies, until one process takes them. Those that are no `T` stay
    /// for [`undecodable_letters`](Self::undecodable_letters).
    ///
    /// # Errors
    /// [`GetError::Damaged`] if another process has overwritten the queue's memory.
    pub fn dead_letters(&self) -> Result<Vec<T>, GetError> {
        let letters = self.raw.take_dead_letters(|letter| caught(|| letter.decode::<T>()).ok());
        letters.map_err(|stop| GetStop::from(stop).into_get_error())
    }

    /// Takes the items that were given up on because they are no `T`: their bytes, and why they are none. So are those whose
    /// `Deserialize` panics.
    ///
    /// # Errors
    /// As [`dead_letters`](Self::dead_letters).
    pub fn undecodable_letters(&self) -> Result<Vec<(Vec<u8>, handover::Error)>, GetError> {
        let letters = self.raw.take_dead_letters(|letter| {
            let bytes = letter.bytes().to_vec();
            caught(|| letter.decode::<T>()).err().map(|why| (bytes, why))
        });
        letters.map_err(|stop| GetStop::from(stop).into_get_error())
    }

    pub(crate) fn lend(&self, patience: Patience) -> Result<Item<T>, GetStop> {
        let (lease, content) = self.raw.take_lease(patience)?;
        match content.decode() {
            Ok(value) => Ok(Item::new(value, lease)),
            Err(e) => {
                // No other getter could decode it.
                lease.give_up();
                Err(GetStop::Decode(e))
            }
        }
    }
}

impl<T> Clone for JoinableQueue<T> {
    fn clone(&self) -> Self {
        Self { raw: self.raw.clone(), item: PhantomData }
    }
}

impl<T> fmt::Debug for JoinableQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinableQueue")
            .field("len", &self.len())
            .field("unfinished", &self.unfinished())
            .field("maxsize", &self.maxsize())
            .finish()
    }
}

impl<T> Serialize for JoinableQueue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        handover::check_sending::<Self, S>()?;
        self.raw.hand_over(serializer)
    }
}

impl<'de, T> Deserialize<'de> for JoinableQueue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Raw::arrive(deserializer)?;
        if !raw.leases {
            return Err(de::Error::custom("the queue is no JoinableQueue"));
        }
        Ok(Self::from_raw(raw))
    }
}
