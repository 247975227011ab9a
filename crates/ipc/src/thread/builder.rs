//! How a queue between threads is made to measure.

use std::marker::PhantomData;

use super::{JoinableQueue, Queue, lending::Lending, shelf::Shelf};

const DEFAULT_DELIVERIES: u8 = 5;

impl<T> Queue<T> {
    /// A queue with settings.
    pub fn builder() -> Builder<T> {
        Builder::new()
    }
}

impl<T> JoinableQueue<T> {
    /// Makes a first-in, first-out queue for at most `maxsize` waiting values; 0 is without limit.
    pub fn new(maxsize: usize) -> Self {
        Self::builder().maxsize(maxsize).build_joinable()
    }

    /// Makes a queue that gives out the newest value first, for at most `maxsize` waiting ones; 0 is without limit.
    ///
    /// # References
    /// Python's [`queue.LifoQueue`](https://docs.python.org/3/library/queue.html#queue.LifoQueue), whose `task_done` and
    /// `join` it has.
    pub fn lifo(maxsize: usize) -> Self {
        Self::builder().maxsize(maxsize).build_joinable_lifo()
    }

    /// A queue with settings; end with [`build_joinable`](Builder::build_joinable).
    pub fn builder() -> Builder<T> {
        Builder::new()
    }
}

impl<T: Ord> JoinableQueue<T> {
    /// Makes a queue that gives out the least value first, for at most `maxsize` waiting ones; 0 is without limit.
    ///
    /// # Examples
    /// ```
    /// let queue = ipc::thread::JoinableQueue::priority(0);
    /// queue.put_many([(2, "later"), (1, "first")])?;
    /// assert_eq!(*queue.get()?, (1, "first"), "and it goes back, for nobody was done with it");
    /// assert_eq!(queue.get()?.into_inner(), (1, "first"));
    /// assert_eq!(queue.unfinished(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # References
    /// Python's [`queue.PriorityQueue`](https://docs.python.org/3/library/queue.html#queue.PriorityQueue), whose
    /// `task_done` and `join` it has.
    pub fn priority(maxsize: usize) -> Self {
        Self::builder().maxsize(maxsize).build_joinable_priority()
    }
}

/// Settings of a queue that is to be made; see [`Queue::builder`].
///
/// # Examples
/// ```
/// let queue = ipc::thread::JoinableQueue::builder().maxsize(10).max_deliveries(2).build_joinable();
/// queue.put("soup")?;
/// assert_eq!(queue.get()?.into_inner(), "soup");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Builder<T> {
    maxsize: usize,
    max_deliveries: u8,
    value: PhantomData<fn(T) -> T>,
}

impl<T> Builder<T> {
    fn new() -> Self {
        Self { maxsize: 0, max_deliveries: DEFAULT_DELIVERIES, value: PhantomData }
    }

    /// How many values fit in; without it, or with 0, there is no limit.
    #[must_use]
    pub fn maxsize(mut self, values: usize) -> Self {
        self.maxsize = values;
        self
    }

    /// How often an item of a [`JoinableQueue`] is delivered to a taker that drops it, before it is set aside as a dead
    /// letter: 5 times unless said, at least once.
    #[must_use]
    pub fn max_deliveries(mut self, times: u8) -> Self {
        self.max_deliveries = times.max(1);
        self
    }

    fn joinable(self, shelf: Shelf<T>) -> JoinableQueue<T> {
        JoinableQueue::from_lending(Lending::new(self.maxsize, self.max_deliveries, shelf))
    }

    /// Makes a first-in, first-out queue.
    pub fn build(self) -> Queue<T> {
        Queue::new(self.maxsize)
    }

    /// Makes a first-in, first-out queue of items on loan.
    pub fn build_joinable(self) -> JoinableQueue<T> {
        self.joinable(Shelf::fifo())
    }

    /// Makes a queue of items on loan that gives out the newest first.
    pub fn build_joinable_lifo(self) -> JoinableQueue<T> {
        self.joinable(Shelf::lifo())
    }
}

impl<T: Ord> Builder<T> {
    /// Makes a queue of items on loan that gives out the least first.
    pub fn build_joinable_priority(self) -> JoinableQueue<T> {
        self.joinable(Shelf::priority())
    }
}
