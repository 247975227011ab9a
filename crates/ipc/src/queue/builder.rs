//! How a queue is made to measure.

use std::{io, marker::PhantomData};

use serde::{Serialize, de::DeserializeOwned};
use wire::TypeInfo;

use crate::Plain;

use super::{
    Queue, Raw,
    layout::{DEFAULT_MAX_MESSAGE, FIRST_SECTION, FITTED_MAX, GROWS, Geometry, MAX_CAPACITY},
    segment::Segment,
    store::Store,
};

/// What the shortest blocks of a queue hold unless told otherwise, and a multiple of which they hold.
const DEFAULT_FITTED: usize = 64;
const DEFAULT_DELIVERIES: u8 = 5;
/// Types of up to that size get blocks of their size by default.
const AUTOMATIC_BYTES: usize = 512;

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// Makes a queue for `maxsize` messages; with 0, it grows with what is in it.
    ///
    /// # Errors
    /// If memory or descriptors are short.
    pub fn new(maxsize: usize) -> io::Result<Self> {
        Self::builder().maxsize(maxsize).build()
    }
}

impl<T> Queue<T> {
    /// A queue with settings.
    pub fn builder() -> Builder<T> {
        Builder::new()
    }
}

/// Settings of a queue that is to be made; see [`Queue::builder`].
///
/// # Examples
/// ```
/// let queue = ipc::Queue::<Vec<u8>>::builder().maxsize(1_000_000).message_bytes(256).build()?;
/// assert_eq!(queue.maxsize(), 1_000_000);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Builder<T> {
    maxsize: usize,
    first_section: u32,
    message_bytes: usize,
    max_message_bytes: usize,
    max_deliveries: u8,
    message: PhantomData<fn(T) -> T>,
}

impl<T> Builder<T> {
    fn new() -> Self {
        let size = size_of::<T>();
        // A number takes a byte more than in memory, a struct two.
        let message_bytes = if size > AUTOMATIC_BYTES { 0 } else { size + size / 4 + 2 };
        Self {
            maxsize: 0,
            first_section: FIRST_SECTION,
            message_bytes,
            max_message_bytes: DEFAULT_MAX_MESSAGE,
            max_deliveries: DEFAULT_DELIVERIES,
            message: PhantomData,
        }
    }

    /// How many messages fit in. Memory is taken as the queue fills.
    ///
    /// Without it, or with 0, the queue grows with what is in it: a `put` never waits for room, and when memory is short
    /// it is an error that gives the message back. So does a queue of more than 16,777,216 messages, which is a limit
    /// in name only: it holds up to 536,805,376.
    #[must_use]
    pub fn maxsize(mut self, messages: usize) -> Self {
        self.maxsize = messages;
        self
    }

    /// How many messages fit into a queue without a `maxsize` before it grows for the first time, a power of 2: for tests,
    /// in which that is to be soon.
    #[doc(hidden)]
    #[must_use]
    pub fn first_section(mut self, messages: u32) -> Self {
        self.first_section = messages;
        self
    }

    /// How many bytes a usual message takes when serialised, up to 4,352: so long are the shortest pieces of memory that
    /// messages of this queue lie in. Unless said, taken from the size of `T`. Up to 512 bytes is fastest.
    #[must_use]
    pub fn message_bytes(mut self, bytes: usize) -> Self {
        self.message_bytes = bytes;
        self
    }

    /// The largest message, in bytes when serialised: 1 GiB and some unless said.
    #[must_use]
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// How often an item of a [`JoinableQueue`](crate::JoinableQueue) is delivered to a taker that dies or drops it, before
    /// it is set aside as a dead letter: 5 times unless said, at least once.
    #[must_use]
    pub fn max_deliveries(mut self, times: u8) -> Self {
        self.max_deliveries = times.max(1);
        self
    }
}

impl<T: Serialize + DeserializeOwned> Builder<T> {
    /// Makes the queue.
    ///
    /// # Errors
    /// If memory or descriptors are short, or a setting is out of bounds (`InvalidInput`).
    pub fn build(self) -> io::Result<Queue<T>> {
        Ok(Queue::from_raw(self.build_raw(false)?))
    }

    pub(crate) fn build_raw(self, leases: bool) -> io::Result<Raw> {
        let store = TypeInfo::of::<T>().may_hold_handles().then(Store::new).transpose()?;
        self.build_with(leases, store)
    }
}

impl<T: Plain> Builder<T> {
    /// Makes a queue for values that are lent and sent ([`Queue::loan_value`]), never serialised: `T` need not be a type of
    /// serde.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_plain(self) -> io::Result<Queue<T>> {
        Ok(Queue::from_raw(self.build_with(false, None)?))
    }
}

impl<T> Builder<T> {
    fn build_with(self, leases: bool, store: Option<Store>) -> io::Result<Raw> {
        let grows = self.maxsize == 0 || self.maxsize > MAX_CAPACITY;
        let capacity = if grows { GROWS | u64::from(self.first_section) } else { self.maxsize as u64 };
        let fitted = self.message_bytes.max(DEFAULT_FITTED).next_multiple_of(DEFAULT_FITTED).min(FITTED_MAX);
        let geometry = Geometry::new(capacity, fitted as u64, self.max_message_bytes as u64)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the queue's settings are out of bounds"))?;
        Raw::new(Segment::create(geometry, leases, self.max_deliveries.into())?, store)
    }
}
