//! A queue as two halves, of which each is closed by the end of the other. README.md says who may die where.

use std::{
    fmt, io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use kernel::{
    fds::above_standard_streams,
    handover::{self, Fd},
    sys::seqpacket,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

use super::{
    Queue,
    batch::put_all,
    iter::{Drain, unexpected},
    patience::Patience,
    stop::{GetStop, PutStop},
};
use crate::{GetError, GetTimeoutError, PutError, PutTimeoutError, TryGetError, TryPutError, iter::next};

/// How long a wait lasts before it looks whether the other half was killed.
const LOOK_AFTER: Duration = Duration::from_millis(40);
/// A producer also looks at each of so many puts that found room at once: else a queue without a `maxsize` would fill up,
/// with no consumer left.
const LOOK_EVERY: u32 = 64;

/// The half of a [`Queue`] that puts; see [`Queue::split`].
///
/// Clones are the same half, and so are copies that were handed to other processes. Once the last one is gone, dropped or
/// with its process, consumers get what is left, and then `Closed`.
///
/// # Crash safety
/// As of [`Queue`]. If all consumers have been killed, a `put` that waits learns of it within 40 milliseconds; of those that
/// find room, each 64th looks.
pub struct Producer<T>(Arc<LiveHalf<T>>);

/// The half of a [`Queue`] that gets; see [`Queue::split`].
///
/// Clones are the same half, and so are copies that were handed to other processes. Once the last one is gone, dropped or
/// with its process, putting is an error.
///
/// # Crash safety
/// As of [`Queue`]. If all producers have been killed, a `get` that waits learns of it within 40 milliseconds, and one that
/// does not wait at once, after everything that they had put.
pub struct Consumer<T>(Arc<LiveHalf<T>>);

/// What the clones of one half share in this process.
struct LiveHalf<T> {
    queue: Queue<T>,
    /// Open in every process that has this half; nothing is ever written to it. Present until the drop.
    presence: Option<Fd>,
    /// Hangs up when no process has this half any more.
    this_half: Fd,
    /// Hangs up when no process has the other half any more.
    other_half: Fd,
    /// How many puts there were, more or less.
    n_puts: AtomicU32,
}

impl<T> LiveHalf<T> {
    /// Whether no process has the other half any more. Then the queue is closed from now on.
    #[cold]
    fn is_other_gone(&self) -> bool {
        let is_gone = seqpacket::has_hung_up(self.other_half.as_fd());
        if is_gone {
            self.queue.close();
        }
        is_gone
    }

    /// Repeats `attempt`, which waits as long as it is told to, and looks in between whether the other half is gone.
    fn watchfully<R, E>(
        &self,
        patience: Patience,
        is_level: impl Fn(&E) -> bool,
        closed: E,
        attempt: impl Fn(Patience) -> Result<R, E>,
    ) -> Result<R, E> {
        let deadline = patience.deadline();
        loop {
            let (slice, is_last) = match patience.left(deadline) {
                Patience::For(left) if left <= LOOK_AFTER => (Patience::For(left), true),
                Patience::Now => (Patience::Now, true),
                _ => (Patience::For(LOOK_AFTER), false),
            };
            match attempt(slice) {
                // The other half has done all its puts and gets before; and now the queue is closed.
                Err(stop) if is_level(&stop) && self.is_other_gone() => {
                    return attempt(Patience::Now).map_err(|stop| if is_level(&stop) { closed } else { stop });
                }
                Err(stop) if is_level(&stop) && !is_last => {}
                done => return done,
            }
        }
    }
}

impl<T> Drop for LiveHalf<T> {
    fn drop(&mut self) {
        self.presence = None;
        // Of several that are dropped at once, the last one to close its descriptor sees that no other is left.
        if seqpacket::has_hung_up(self.this_half.as_fd()) {
            self.queue.close();
        }
    }
}

impl<T> Queue<T> {
    /// Makes two halves of the queue: one can only put, the other can only get. Once all producers are gone, or all
    /// consumers, of all processes, the queue is closed for the other half; by a drop at once, by `kill -9` soon.
    ///
    /// A producer that was killed counts as one that has finished: its [`Process::join`](proc_core::Process::join) says
    /// whether it put all that it was to put. A half blocks: it is no future, and not for `wait_any`.
    ///
    /// Other handles of the same queue stay what they are, and count for neither. A half takes three descriptors more than
    /// the queue does. A child by [`fork`](proc_core::Process::fork) has a copy of its parent's halves until it ends.
    ///
    /// # Errors
    /// If descriptors are short.
    ///
    /// # Examples
    /// ```
    /// use ipc::{Queue, queue::Producer};
    /// use proc_core::Process;
    ///
    /// fn count(numbers: Producer<u32>) {
    ///     numbers.put_many(0..100).unwrap();
    /// }
    ///
    /// let (producer, consumer) = Queue::new(10)?.split()?;
    /// let children = [Process::spawn(count, (producer.clone(),))?, Process::spawn(count, (producer,))?];
    /// assert_eq!(consumer.iter().sum::<u32>(), 9900, "the end comes without `close`");
    /// # children.into_iter().try_for_each(|child| child.join())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn split(self) -> io::Result<(Producer<T>, Consumer<T>)> {
        let pipe = || {
            let (reader, writer) = io::pipe()?;
            Ok::<_, io::Error>((above_standard_streams(OwnedFd::from(reader))?, above_standard_streams(writer.into())?))
        };
        let ((producers, a_producer), (consumers, a_consumer)) = (pipe()?, pipe()?);
        let half = |queue, presence, this_half, other_half| {
            let (presence, this_half, other_half) = (Some(Fd(presence)), Fd(this_half), Fd(other_half));
            Arc::new(LiveHalf { queue, presence, this_half, other_half, n_puts: AtomicU32::new(0) })
        };
        let producer = half(self.clone(), a_producer, producers.try_clone()?, consumers.try_clone()?);
        Ok((Producer(producer), Consumer(half(self, a_consumer, consumers, producers))))
    }
}

impl<T: Serialize + DeserializeOwned> Producer<T> {
    /// As [`Queue::put`].
    ///
    /// # Errors
    /// As there. `Closed` also once all consumers are gone.
    pub fn put(&self, message: T) -> Result<(), PutError<T>> {
        self.put_message(&message, Patience::Forever).map_err(|stop| stop.into_put_error(message))
    }

    /// As [`Queue::try_put`].
    ///
    /// # Errors
    /// As there. `Closed` also once all consumers are gone.
    #[doc(alias = "put_nowait")]
    pub fn try_put(&self, message: T) -> Result<(), TryPutError<T>> {
        self.put_message(&message, Patience::Now).map_err(|stop| stop.into_try_put_error(message))
    }

    /// As [`Queue::put_timeout`].
    ///
    /// # Errors
    /// As there. `Closed` also once all consumers are gone.
    pub fn put_timeout(&self, message: T, timeout: Duration) -> Result<(), PutTimeoutError<T>> {
        self.put_message(&message, Patience::For(timeout)).map_err(|stop| stop.into_put_timeout_error(message))
    }

    /// As [`Queue::put_deadline`].
    ///
    /// # Errors
    /// As there. `Closed` also once all consumers are gone.
    pub fn put_deadline(&self, message: T, deadline: Instant) -> Result<(), PutTimeoutError<T>> {
        self.put_message(&message, Patience::until(deadline)).map_err(|stop| stop.into_put_timeout_error(message))
    }

    /// As [`Queue::put_many`].
    ///
    /// # Errors
    /// As there. `Closed` also once all consumers are gone.
    pub fn put_many(&self, messages: impl IntoIterator<Item = T>) -> Result<(), PutError<Vec<T>>> {
        put_all(messages, |message| self.put_message(message, Patience::Forever))
    }

    fn put_message(&self, message: &T, patience: Patience) -> Result<(), PutStop> {
        // Relaxed, and no swap: nothing depends on the exact number.
        let n = self.0.n_puts.load(Ordering::Relaxed);
        self.0.n_puts.store(n.wrapping_add(1), Ordering::Relaxed);
        if n % LOOK_EVERY == LOOK_EVERY - 1 {
            self.0.is_other_gone();
        }
        match self.0.queue.put_message(message, Patience::Now) {
            Err(PutStop::Full) => {
                let is_full = |stop: &PutStop| matches!(stop, PutStop::Full);
                self.0.watchfully(patience, is_full, PutStop::Closed, |patience| {
                    self.0.queue.put_message(message, patience)
                })
            }
            done => done,
        }
    }
}

impl<T> Producer<T> {
    /// Whether there is no room to put right now.
    pub fn is_full(&self) -> bool {
        self.0.queue.is_full()
    }
}

impl<T: DeserializeOwned> Consumer<T> {
    /// As [`Queue::get`].
    ///
    /// # Errors
    /// As there. `Closed` also once all producers are gone, and everything that they have put has been taken.
    pub fn get(&self) -> Result<T, GetError> {
        self.get_message(Patience::Forever).map_err(GetStop::into_get_error)
    }

    /// As [`Queue::try_get`].
    ///
    /// # Errors
    /// As there. `Closed` also once all producers are gone, and everything that they have put has been taken.
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<T, TryGetError> {
        self.get_message(Patience::Now).map_err(GetStop::into_try_get_error)
    }

    /// As [`Queue::get_timeout`].
    ///
    /// # Errors
    /// As there. `Closed` also once all producers are gone, and everything that they have put has been taken.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetTimeoutError> {
        self.get_message(Patience::For(timeout)).map_err(GetStop::into_get_timeout_error)
    }

    /// As [`Queue::get_deadline`].
    ///
    /// # Errors
    /// As there. `Closed` also once all producers are gone, and everything that they have put has been taken.
    pub fn get_deadline(&self, deadline: Instant) -> Result<T, GetTimeoutError> {
        self.get_message(Patience::until(deadline)).map_err(GetStop::into_get_timeout_error)
    }

    /// As [`Queue::get_many`].
    ///
    /// # Errors
    /// As there. `Closed` also once all producers are gone, and everything that they have put has been taken.
    pub fn get_many(&self, max: usize) -> Result<Vec<T>, GetError> {
        self.0.queue.get_many_from(max, || self.get())
    }

    fn get_message(&self, patience: Patience) -> Result<T, GetStop> {
        match self.0.queue.get_message(Patience::Now) {
            Err(GetStop::Empty) => {
                let is_empty = |stop: &GetStop| matches!(stop, GetStop::Empty);
                self.0.watchfully(patience, is_empty, GetStop::Closed, |patience| self.0.queue.get_message(patience))
            }
            done => done,
        }
    }
}

impl<T> Consumer<T> {
    /// Takes message after message, waiting for each, until all producers are gone or the queue has been closed.
    ///
    /// Ends at a message that is no `T`, too: [`error`](ConsumerIter::error) tells which end it was.
    pub fn iter(&self) -> ConsumerIter<'_, T> {
        ConsumerIter { consumer: self, end: None }
    }

    /// Takes what is in the queue now, without waiting.
    pub fn drain(&self) -> Drain<'_, T> {
        self.0.queue.drain()
    }

    /// How many messages are in the queue.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.0.queue.len()
    }

    /// Whether there is no message to get right now.
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        self.0.queue.is_empty()
    }
}

/// The messages of a queue, until all producers are gone; see [`Consumer::iter`].
#[derive(Debug)]
pub struct ConsumerIter<'a, T> {
    consumer: &'a Consumer<T>,
    /// Why it has ended.
    end: Option<GetError>,
}

impl<T> ConsumerIter<'_, T> {
    /// Why it has ended, unless that is because the producers are gone: as [`Iter::error`](super::Iter::error).
    pub fn error(&self) -> Option<&GetError> {
        unexpected(&self.end)
    }
}

impl<T: DeserializeOwned> Iterator for ConsumerIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        next(&mut self.end, || self.consumer.get())
    }
}

impl<'a, T: DeserializeOwned> IntoIterator for &'a Consumer<T> {
    type Item = T;
    type IntoIter = ConsumerIter<'a, T>;

    fn into_iter(self) -> ConsumerIter<'a, T> {
        self.iter()
    }
}

macro_rules! half {
    ($Half:ident) => {
        impl<T> Clone for $Half<T> {
            fn clone(&self) -> Self {
                Self(Arc::clone(&self.0))
            }
        }

        impl<T> fmt::Debug for $Half<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($Half)).field("queue", &self.0.queue).finish()
            }
        }

        impl<T> Serialize for $Half<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                handover::check_sending::<Self, S>()?;
                self.0.serialize(serializer)
            }
        }

        impl<'de, T> Deserialize<'de> for $Half<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                LiveHalf::deserialize(deserializer).map(|half| Self(Arc::new(half)))
            }
        }
    };
}

half!(Producer);
half!(Consumer);

impl<T> Serialize for LiveHalf<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let presence = self.presence.as_ref().expect("it is there until the drop");
        (&self.queue, presence, &self.this_half, &self.other_half).serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for LiveHalf<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (queue, presence, this_half, other_half) = Deserialize::deserialize(deserializer)?;
        Ok(Self { queue, presence: Some(presence), this_half, other_half, n_puts: AtomicU32::new(0) })
    }
}
