//! Queues between threads that give values out in an order of their own.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    many::put_all,
    monitor::{Monitor, ValueStore},
    wakers::Wakers,
};
use crate::{GetError, GetTimeoutError, PutError, PutTimeoutError, TryGetError, TryPutError, time::remaining};

/// Last in, first out.
#[derive(Debug)]
struct Stack<T>(Vec<T>);

/// Least first.
#[derive(Debug)]
struct Heap<T>(BinaryHeap<Reverse<T>>);

impl<T> Default for Stack<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Ord> Default for Heap<T> {
    fn default() -> Self {
        Self(BinaryHeap::new())
    }
}

impl<T> ValueStore for Stack<T> {
    type Value = T;

    fn push(&mut self, value: T) {
        self.0.push(value);
    }

    fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T: Ord> ValueStore for Heap<T> {
    type Value = T;

    fn push(&mut self, value: T) {
        self.0.push(Reverse(value));
    }

    fn pop(&mut self) -> Option<T> {
        self.0.pop().map(|Reverse(value)| value)
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// A queue of what a store holds. Two types with the same methods, so that each has a page of its own in the docs.
macro_rules! ordered_queue {
    ($(#[$docs:meta])* $Queue:ident, $Iter:ident, $Store:ident $(, $bound:ident)?) => {
        $(#[$docs])*
        ///
        /// Clones are the same queue.
        pub struct $Queue<T>(Arc<Monitor<$Store<T>>>);

        impl<T: $($bound)?> $Queue<T> {
            /// Makes a queue for at most `maxsize` values; 0 is without limit.
            pub fn new(maxsize: usize) -> Self {
                Self(Arc::new(Monitor::new(maxsize, $Store::default())))
            }

            /// Puts a value, waiting while the queue is full.
            ///
            /// # Errors
            /// `Closed` with the value, also if the queue is closed during the wait.
            pub fn put(&self, value: T) -> Result<(), PutError<T>> {
                self.0.put(value)
            }

            /// Puts a value if there is room now.
            ///
            /// # Errors
            /// `Full` or `Closed` with the value.
            #[doc(alias = "put_nowait")]
            pub fn try_put(&self, value: T) -> Result<(), TryPutError<T>> {
                self.0.try_put(value)
            }

            /// Puts a value, waiting at most `timeout` for room.
            ///
            /// # Errors
            /// `TimedOut` or `Closed` with the value.
            pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), PutTimeoutError<T>> {
                self.0.put_until(value, Some(timeout))
            }

            /// Puts a value, waiting for room until `deadline`.
            ///
            /// # Errors
            /// As [`put_timeout`](Self::put_timeout).
            pub fn put_deadline(&self, value: T, deadline: Instant) -> Result<(), PutTimeoutError<T>> {
                self.put_timeout(value, remaining(deadline))
            }

            /// Puts a value; a future, for any runtime or none. Dropped before its end, it has put nothing.
            ///
            /// # Errors
            /// As [`put`](Self::put).
            pub async fn put_async(&self, value: T) -> Result<(), PutError<T>> {
                self.0.putters.put_when_woken(value, |value| self.try_put(value)).await
            }

            /// Puts all values, waiting whenever the queue is full.
            ///
            /// # Errors
            /// `Closed` with those that were not put.
            pub fn put_many(&self, values: impl IntoIterator<Item = T>) -> Result<(), PutError<Vec<T>>> {
                put_all(values, |value| self.put(value))
            }

            /// Takes the next value, waiting while there is none.
            ///
            /// # Errors
            /// `Closed` once the queue is closed and everything in it has been taken.
            pub fn get(&self) -> Result<T, GetError> {
                self.0.get()
            }

            /// Takes the next value if there is one now.
            ///
            /// # Errors
            /// `Empty`; `Closed` once the queue is closed and everything in it has been taken.
            #[doc(alias = "get_nowait")]
            pub fn try_get(&self) -> Result<T, TryGetError> {
                self.0.try_get()
            }

            /// Takes the next value, waiting at most `timeout` for one.
            ///
            /// # Errors
            /// `TimedOut`; `Closed` once the queue is closed and everything in it has been taken.
            pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetTimeoutError> {
                self.0.get_until(Some(timeout))
            }

            /// Takes the next value, waiting for one until `deadline`.
            ///
            /// # Errors
            /// As [`get_timeout`](Self::get_timeout).
            pub fn get_deadline(&self, deadline: Instant) -> Result<T, GetTimeoutError> {
                self.get_timeout(remaining(deadline))
            }

            /// Takes the next value; a future, for any runtime or none. Dropped before its end, it has taken nothing.
            ///
            /// # Errors
            /// As [`get`](Self::get).
            pub async fn get_async(&self) -> Result<T, GetError> {
                self.0.takers.get_when_woken(|| self.try_get()).await
            }

            /// Takes up to `max` values at once, waiting while there is none.
            ///
            /// # Errors
            /// `Closed` once the queue is closed and everything in it has been taken.
            pub fn get_many(&self, max: usize) -> Result<Vec<T>, GetError> {
                self.0.get_many(max)
            }

            /// How many values wait to be taken.
            #[doc(alias = "qsize")]
            pub fn len(&self) -> usize {
                self.0.len()
            }

            /// Whether no value waits to be taken.
            #[doc(alias = "empty")]
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Whether `put` would wait.
            #[doc(alias = "full")]
            pub fn is_full(&self) -> bool {
                self.0.is_full()
            }

            /// How many values the queue holds at most; 0 is without limit.
            pub fn maxsize(&self) -> usize {
                self.0.maxsize()
            }

            /// Lets no more values in. What is in the queue can still be taken; then `get` reports `Closed`.
            pub fn close(&self) {
                self.0.close();
            }

            /// Lets no more values in, as [`close`](Self::close) does. If `immediate`, what is in the queue is dropped.
            ///
            /// # References
            /// Python's [`queue.Queue.shutdown`](https://docs.python.org/3/library/queue.html#queue.Queue.shutdown).
            pub fn shutdown(&self, immediate: bool) {
                self.close();
                while immediate && self.0.try_get().is_ok() {}
            }

            /// Whether [`close`](Self::close) has been called.
            pub fn is_closed(&self) -> bool {
                self.0.is_closed()
            }

            /// Whether two handles are the same queue.
            pub fn ptr_eq(a: &Self, b: &Self) -> bool {
                Arc::ptr_eq(&a.0, &b.0)
            }

            pub(super) fn takers(&self) -> &Wakers {
                &self.0.takers
            }

            pub(super) fn putters(&self) -> &Wakers {
                &self.0.putters
            }

            /// Takes values until the queue is closed and empty, waiting for each.
            pub fn iter(&self) -> $Iter<'_, T> {
                $Iter { queue: self }
            }
        }

        impl<T> Clone for $Queue<T> {
            fn clone(&self) -> Self {
                Self(Arc::clone(&self.0))
            }
        }

        impl<T: $($bound)?> fmt::Debug for $Queue<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($Queue)).field("len", &self.len()).field("maxsize", &self.maxsize()).finish_non_exhaustive()
            }
        }

        impl<'a, T: $($bound)?> IntoIterator for &'a $Queue<T> {
            type Item = T;
            type IntoIter = $Iter<'a, T>;

            fn into_iter(self) -> $Iter<'a, T> {
                self.iter()
            }
        }

        #[doc = concat!("Takes values from a [`", stringify!($Queue), "`]; ends when it is closed and empty.")]
        pub struct $Iter<'a, T> {
            queue: &'a $Queue<T>,
        }

        impl<T: $($bound)?> fmt::Debug for $Iter<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($Iter)).field("queue", self.queue).finish()
            }
        }

        impl<T: $($bound)?> Iterator for $Iter<'_, T> {
            type Item = T;

            fn next(&mut self) -> Option<T> {
                self.queue.get().ok()
            }
        }
    };
}

ordered_queue! {
    /// A queue between threads that gives out the newest value first.
    LifoQueue, LifoIter, Stack
}

ordered_queue! {
    /// A queue between threads that gives out the least value first; wrap values in [`Reverse`] for the greatest.
    ///
    /// # Examples
    /// ```
    /// let queue = ipc::thread::PriorityQueue::new(0);
    /// queue.put((2, "later"))?;
    /// queue.put((1, "first"))?;
    /// assert_eq!(queue.get()?, (1, "first"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    PriorityQueue, PriorityIter, Heap, Ord
}
