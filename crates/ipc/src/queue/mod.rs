//! A queue between processes.

mod batch;
mod blocks;
mod builder;
mod bytes;
mod cells;
mod codec;
mod content;
mod custody;
mod events;
mod garbage;
mod halves;
mod here;
#[cfg(test)]
mod hostile;
#[cfg(feature = "inspect")]
pub(crate) mod inspect;
mod iter;
mod kept;
mod layout;
mod leases;
mod leasing;
mod loan;
mod message;
mod number;
mod participants;
mod patience;
mod raw;
mod reactor;
mod ready;
mod ring;
mod segment;
mod stop;
mod store;
#[cfg(test)]
mod tests;
mod windows;
mod word;

use std::{
    fmt,
    marker::PhantomData,
    sync::Arc,
    time::{Duration, Instant},
};

use kernel::handover;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, de::DeserializeOwned};

use crate::barrier;

pub(crate) use self::{batch::put_all, codec::caught, leases::Lease, patience::Patience, raw::Raw, stop::GetStop};
pub use self::{
    builder::Builder,
    halves::{Consumer, ConsumerIter, Producer},
    iter::{Drain, IntoIter, Iter},
    loan::{Loan, Received},
    ready::{Get, Join, Put, Readiness},
};
use crate::{GetError, GetTimeoutError, PutError, PutTimeoutError, TryGetError, TryPutError};

/// A first-in first-out queue of messages between any number of processes, each of which may put and get.
///
/// The queue lives in anonymous shared memory: one file descriptor, nothing in the file system, no helper process, no
/// thread. A message is serialised by [`put`](Self::put) before it returns, so a process may exit right after it.
/// Clones and handed-over copies (arguments of a process or task, messages through a `Connection`, values inside
/// other messages) are the same queue.
///
/// `Queue::new(0)`, or a queue without a `maxsize`, grows with what is in it: `put` never waits for room, and memory is its
/// limit (an error, which gives the message back). See [`builder`](Self::builder) for that, for the usual length of a
/// message, and for the limit of a single one (1 GiB unless said otherwise).
///
/// A thread that has to wait spins first, for some 25 to 50 microseconds as long as that has paid lately (not at all with
/// one CPU), yields its CPU once, and then sleeps.
///
/// Messages come out in the order in which they went in. A queue does not know which of its users will put again, so a
/// `get` waits also when every other process has gone; [`close`](Self::close) it, or send a last message, to end
/// consumers. Or [`split`](Self::split) it: the halves know when the other one has gone.
///
/// Handles inside messages (another queue, a lock, the end of a pipe, …) are kept by the kernel until they are taken,
/// whatever becomes of their sender. A queue of such messages takes three descriptors more. It has room for so many of them
/// as the kernel keeps for a socket (at least 200 with its usual settings), and is full beyond that, whatever its `maxsize`.
/// While a process stands still (by SIGSTOP, say) in the very moment in which it takes one from there, no other takes one:
/// `get_timeout` times out, and [`try_get`](Self::try_get) is an error of the kind `ResourceBusy` after 10 milliseconds.
///
/// # Crash safety
/// Whatever process is killed, at whatever instruction: a message whose `put` has returned is in the queue; one whose
/// `put` was interrupted is there whole or not at all. A message that was being taken goes with its taker; none is
/// delivered twice. A message is put in one step, and taken in one: processes that are slow, stopped or dead never hold up
/// others, wherever they are, and *empty*, *full* and *closed* are exact whatever they were in the middle of.
///
/// # Examples
/// ```
/// use ipc::Queue;
///
/// let queue = Queue::new(10)?;
/// queue.put(String::from("hello"))?;
/// assert_eq!(queue.get()?, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # References
/// Python's [`multiprocessing.Queue`](https://docs.python.org/3/library/multiprocessing.html#multiprocessing.Queue);
/// its `put_nowait` is [`try_put`](Self::try_put), its `timeout=` [`put_timeout`](Self::put_timeout).
pub struct Queue<T> {
    raw: Arc<Raw>,
    message: PhantomData<fn(T) -> T>,
}

impl<T> Queue<T> {
    pub(crate) fn from_raw(raw: Raw) -> Self {
        Self { raw: Arc::new(raw), message: PhantomData }
    }

    /// How many messages are in the queue at one moment during this call; a moment later it may be another number.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether there is no message to get right now: exact, as are [`is_full`](Self::is_full) and
    /// [`TryGetError::Empty`]. A process that has put a message finds one, unless others have taken it.
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Whether there is no room to put right now; a queue without a `maxsize` always has room.
    #[doc(alias = "full")]
    pub fn is_full(&self) -> bool {
        self.raw.is_full()
    }

    /// How many messages fit in; 0 for a queue that grows.
    #[doc(alias = "capacity")]
    pub fn maxsize(&self) -> usize {
        self.raw.maxsize()
    }

    /// Closes the queue for all its users: from now on putting is an error, and getting is one once the queue is empty.
    /// Wakes all waiters. A `put` at the same time comes before the close, and its message will be got, or after it, and
    /// fails: the close is one moment for all users.
    ///
    /// Python's `Queue.close()`, by which one process says that *it* puts no more, is to drop the handle; and of a queue that
    /// was [split](Self::split), the last such drop closes it.
    pub fn close(&self) {
        self.raw.close();
    }

    /// Closes the queue for all its users, as [`close`](Self::close) does. If `immediate`, what is in the queue is thrown away,
    /// and getters are told at once that the queue is closed.
    ///
    /// # References
    /// Python's [`queue.Queue.shutdown`](https://docs.python.org/3/library/queue.html#queue.Queue.shutdown).
    pub fn shutdown(&self, immediate: bool) {
        self.close();
        // A message that cannot be read has been taken, too; any other error stays.
        while immediate && matches!(self.get_raw(Patience::Now), Ok(_) | Err(GetStop::Decode(_))) {}
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

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// Puts a message into the queue; waits for room while it is full.
    ///
    /// # Errors
    /// Gives the message back: if the queue is closed, or the message cannot be serialised, would not arrive equal or is
    /// too large, or there is no memory for it.
    ///
    /// # Crash safety
    /// Once `put` has returned, the message is in the queue, whatever becomes of this process.
    #[doc(alias = "send")]
    #[inline]
    pub fn put(&self, message: T) -> Result<(), PutError<T>> {
        self.put_message(&message, Patience::Forever).map_err(|stop| stop.into_put_error(message))
    }

    /// Puts a message into the queue if there is room right now.
    ///
    /// # Errors
    /// As [`put`](Self::put), and [`TryPutError::Full`].
    #[doc(alias = "put_nowait")]
    #[inline]
    pub fn try_put(&self, message: T) -> Result<(), TryPutError<T>> {
        self.put_message(&message, Patience::Now).map_err(|stop| stop.into_try_put_error(message))
    }

    /// Puts a message into the queue; waits for room, but no longer than `timeout`.
    ///
    /// # Errors
    /// As [`put`](Self::put), and [`PutTimeoutError::TimedOut`].
    #[doc(alias = "send_timeout")]
    pub fn put_timeout(&self, message: T, timeout: Duration) -> Result<(), PutTimeoutError<T>> {
        self.put_message(&message, Patience::For(timeout)).map_err(|stop| stop.into_put_timeout_error(message))
    }

    /// Puts a message into the queue; waits for room, but no longer than until `deadline`.
    ///
    /// # Errors
    /// As [`put_timeout`](Self::put_timeout).
    #[doc(alias = "send_deadline")]
    pub fn put_deadline(&self, message: T, deadline: Instant) -> Result<(), PutTimeoutError<T>> {
        self.put_message(&message, Patience::until(deadline)).map_err(|stop| stop.into_put_timeout_error(message))
    }
}

impl<T: DeserializeOwned> Queue<T> {
    /// Takes the next message; waits for one while the queue is empty, also when every other process that had the
    /// queue has gone.
    ///
    /// # Errors
    /// If the queue is closed and empty; if the message is no `T`, which concerns that message only.
    ///
    /// # Crash safety
    /// If this process is killed inside `get`, the one message it was taking may be gone with it.
    #[doc(alias = "recv")]
    #[inline]
    pub fn get(&self) -> Result<T, GetError> {
        match self.get_message(Patience::Forever) {
            Ok(value) => Ok(value),
            Err(stop) => Err(stop.into_get_error()),
        }
    }

    /// Takes the next message if there is one right now.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`TryGetError::Empty`].
    #[doc(alias = "get_nowait")]
    #[inline]
    pub fn try_get(&self) -> Result<T, TryGetError> {
        self.get_message(Patience::Now).map_err(GetStop::into_try_get_error)
    }

    /// Takes the next message; waits for one, but no longer than `timeout`.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`GetTimeoutError::TimedOut`].
    #[doc(alias = "recv_timeout")]
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetTimeoutError> {
        self.get_message(Patience::For(timeout)).map_err(GetStop::into_get_timeout_error)
    }

    /// Takes the next message; waits for one, but no longer than until `deadline`.
    ///
    /// # Errors
    /// As [`get_timeout`](Self::get_timeout).
    #[doc(alias = "recv_deadline")]
    pub fn get_deadline(&self, deadline: Instant) -> Result<T, GetTimeoutError> {
        self.get_message(Patience::until(deadline)).map_err(GetStop::into_get_timeout_error)
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { raw: self.raw.clone(), message: PhantomData }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.len())
            .field("maxsize", &self.maxsize())
            .field("closed", &self.is_closed())
            .finish()
    }
}

impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        handover::check_sending::<Self, S>()?;
        self.raw.hand_over(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Raw::arrive(deserializer)?;
        if raw.leases {
            return Err(de::Error::custom("the queue is a JoinableQueue"));
        }
        Ok(Self::from_raw(raw))
    }
}
