//! In which order a [`JoinableQueue`](super::JoinableQueue) gives its items out.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, VecDeque},
};

use super::monitor::ValueStore;

/// A value, and how often it has been given out.
pub(super) struct ShelfEntry<T> {
    pub(super) value: T,
    pub(super) deliveries: u8,
}

/// The waiting items. The order is chosen when the queue is made, not by a type of its own: so the queue has one set of
/// methods, and only the makers of a priority queue ask for `T: Ord`.
pub(super) enum Shelf<T> {
    Fifo(VecDeque<ShelfEntry<T>>),
    Lifo(Vec<ShelfEntry<T>>),
    Priority(BinaryHeap<Ranked<T>>, fn(&T, &T) -> Ordering),
}

/// An entry that knows how to compare itself.
pub(super) struct Ranked<T> {
    entry: ShelfEntry<T>,
    compare: fn(&T, &T) -> Ordering,
}

impl<T> Shelf<T> {
    pub(super) fn fifo() -> Self {
        Self::Fifo(VecDeque::new())
    }

    pub(super) fn lifo() -> Self {
        Self::Lifo(Vec::new())
    }

    /// Takes an item back that was given out: it is the next one again, unless a lesser one waits.
    pub(super) fn put_back(&mut self, entry: ShelfEntry<T>) {
        match self {
            Self::Fifo(items) => items.push_front(entry),
            Self::Lifo(_) | Self::Priority(..) => self.push(entry),
        }
    }
}

impl<T: Ord> Shelf<T> {
    pub(super) fn priority() -> Self {
        Self::Priority(BinaryHeap::new(), T::cmp)
    }
}

impl<T> ValueStore for Shelf<T> {
    type Value = ShelfEntry<T>;

    fn push(&mut self, entry: ShelfEntry<T>) {
        match self {
            Self::Fifo(items) => items.push_back(entry),
            Self::Lifo(items) => items.push(entry),
            Self::Priority(items, compare) => items.push(Ranked { entry, compare: *compare }),
        }
    }

    fn pop(&mut self) -> Option<ShelfEntry<T>> {
        match self {
            Self::Fifo(items) => items.pop_front(),
            Self::Lifo(items) => items.pop(),
            Self::Priority(items, _) => items.pop().map(|ranked| ranked.entry),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Fifo(items) => items.len(),
            Self::Lifo(items) => items.len(),
            Self::Priority(items, _) => items.len(),
        }
    }
}

/// The other way round: a heap gives the greatest out, and this queue the least.
impl<T> Ord for Ranked<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.compare)(&other.entry.value, &self.entry.value)
    }
}

impl<T> PartialOrd for Ranked<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Ranked<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Ranked<T> {}
