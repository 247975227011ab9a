//! Queues between threads among other things that are waited for.

use std::{fmt, io};

use proc_core::{Waitable, Watch};

use super::{JoinableQueue, LifoQueue, PriorityQueue, Queue, wakers::Wakers};

/// One side of a queue, to be waited for by [`wait_any`](proc_core::wait_any): see [`Queue::readable`] and
/// [`Queue::writable`].
pub struct Readiness<'a> {
    wakers: &'a Wakers,
    is_ready: Box<dyn Fn() -> bool + Send + Sync + 'a>,
}

impl fmt::Debug for Readiness<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("is_ready", &(self.is_ready)()).finish()
    }
}

impl Waitable for Readiness<'_> {
    fn watch(&self) -> io::Result<Watch<'_>> {
        self.wakers.watch(&self.is_ready)
    }
}

macro_rules! waitable {
    ($Queue:ident $(, $bound:ident)?) => {
        impl<T: Send $(+ $bound)?> $Queue<T> {
            /// Something to wait for with [`wait_any`](proc_core::wait_any): ready when there is something to get, or the queue
            /// is closed.
            pub fn readable(&self) -> Readiness<'_> {
                Readiness { wakers: self.takers(), is_ready: Box::new(|| self.has_something()) }
            }

            /// Something to wait for with [`wait_any`](proc_core::wait_any): ready when there is room, or the queue is closed.
            pub fn writable(&self) -> Readiness<'_> {
                Readiness { wakers: self.putters(), is_ready: Box::new(|| !self.is_full() || self.is_closed()) }
            }

            fn has_something(&self) -> bool {
                !self.is_empty() || self.is_closed()
            }
        }

        /// Ready when there is something to get, or the queue is closed: as [`readable`](Self::readable).
        impl<T: Send $(+ $bound)?> Waitable for $Queue<T> {
            fn watch(&self) -> io::Result<Watch<'_>> {
                self.takers().watch(|| self.has_something())
            }
        }
    };
}

waitable!(Queue);
waitable!(LifoQueue);
waitable!(PriorityQueue, Ord);
waitable!(JoinableQueue);
