//! The chunks of a map that a pool has.

use std::{collections::VecDeque, task::Waker};

use kernel::futex::Deadline;

use super::chunk::Chunk;
use crate::{Task, completed::Set};

/// Chunks under way, and the order in which they are taken out.
pub(crate) trait UnderWay<R>: Default {
    fn len(&self) -> usize;

    fn insert(&mut self, n_items: usize, task: Task<Chunk<R>>);

    /// Blocks until `next` would not (true), or the deadline has passed (false).
    fn wait(&self, deadline: Option<Deadline>) -> bool;

    /// Whether `next` would not block; if not, has `waker` woken when it would not.
    fn poll(&self, waker: &Waker) -> bool;

    /// The next chunk, which may have to be waited for.
    fn next(&mut self) -> Option<(usize, Task<Chunk<R>>)>;
}

impl<R> UnderWay<R> for VecDeque<(usize, Task<Chunk<R>>)> {
    fn len(&self) -> usize {
        self.len()
    }

    fn insert(&mut self, n_items: usize, task: Task<Chunk<R>>) {
        self.push_back((n_items, task));
    }

    fn wait(&self, deadline: Option<Deadline>) -> bool {
        self.front().is_none_or(|(_, first)| first.0.wait(deadline))
    }

    fn poll(&self, waker: &Waker) -> bool {
        self.front().is_none_or(|(_, first)| first.0.core().poll(waker))
    }

    fn next(&mut self) -> Option<(usize, Task<Chunk<R>>)> {
        self.pop_front()
    }
}

impl<R> UnderWay<R> for Set<Chunk<R>> {
    fn len(&self) -> usize {
        self.len()
    }

    fn insert(&mut self, n_items: usize, task: Task<Chunk<R>>) {
        self.insert(n_items, task);
    }

    fn wait(&self, deadline: Option<Deadline>) -> bool {
        self.wait(deadline)
    }

    fn poll(&self, waker: &Waker) -> bool {
        self.poll(waker)
    }

    fn next(&mut self) -> Option<(usize, Task<Chunk<R>>)> {
        self.next()
    }
}
