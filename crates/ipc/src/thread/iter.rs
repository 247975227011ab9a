//! Queues as iterators that own them, or that do not wait.

use super::{Item, JoinableQueue, LifoQueue, PriorityQueue, Queue};

/// Takes from a queue that it owns a handle of, waiting each time; ends when the queue is closed and empty.
///
/// # Examples
/// ```
/// let queue = ipc::thread::Queue::new(0);
/// queue.put_many([1, 2, 3])?;
/// queue.close();
/// assert_eq!(queue.into_iter().sum::<u32>(), 6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct IntoIter<Q> {
    queue: Q,
}

/// Takes what is in a queue, without waiting; ends when the queue is empty.
#[derive(Debug)]
pub struct Drain<'a, Q> {
    queue: &'a Q,
}

macro_rules! iterators {
    ($Queue:ident, $Given:ty $(, $bound:ident)?) => {
        impl<T: $($bound)?> $Queue<T> {
            /// Takes what is in the queue now, without waiting: ends when the queue is empty.
            pub fn drain(&self) -> Drain<'_, Self> {
                Drain { queue: self }
            }
        }

        impl<T: $($bound)?> Iterator for Drain<'_, $Queue<T>> {
            type Item = $Given;

            fn next(&mut self) -> Option<$Given> {
                self.queue.try_get().ok()
            }
        }

        impl<T: $($bound)?> Iterator for IntoIter<$Queue<T>> {
            type Item = $Given;

            fn next(&mut self) -> Option<$Given> {
                self.queue.get().ok()
            }
        }

        impl<T: $($bound)?> IntoIterator for $Queue<T> {
            type Item = $Given;
            type IntoIter = IntoIter<Self>;

            fn into_iter(self) -> IntoIter<Self> {
                IntoIter { queue: self }
            }
        }
    };
}

iterators!(Queue, T);
iterators!(LifoQueue, T);
iterators!(PriorityQueue, T, Ord);
iterators!(JoinableQueue, Item<T>);
