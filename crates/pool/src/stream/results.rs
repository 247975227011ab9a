//! The results of a map: its input is fed to the pool while they are taken out.

use std::iter;

use super::{
    chunk::Outcome,
    cut::Cut,
    feed::{Feed, Submit},
    under_way::UnderWay,
};
use crate::TaskError;

/// The results of a map over an iterator, chunk by chunk and item by item.
pub(super) struct Results<I: Iterator, R, U> {
    pub(super) feed: Feed<I, R>,
    pub(super) out: U,
    current: Outcome<R>,
}

impl<I: Iterator, R, U: UnderWay<R>> Results<I, R, U> {
    pub(super) fn new(input: I, cut: Cut, submit: Submit<I::Item, R>) -> Self {
        let current = Outcome::Failed(iter::repeat_n(TaskError::Taken, 0));
        Self { feed: Feed::new(input, cut, submit), out: U::default(), current }
    }

    /// Gives chunks to the pool, as many as may be under way.
    pub(super) fn fill(&mut self) {
        while let Some((n_items, task)) = self.feed.next(self.out.len()) {
            self.out.insert(n_items, task);
        }
    }

    /// Moves on to the next chunk; false if that was the last.
    fn advance(&mut self) -> bool {
        self.fill();
        let Some((n_items, task)) = self.out.next() else {
            self.feed.end();
            return false;
        };
        self.current = Outcome::of(n_items, self.feed.done(&task));
        true
    }

    pub(super) fn next(&mut self) -> Option<Result<R, TaskError>> {
        loop {
            if let Some(result) = self.in_hand() {
                return Some(result);
            }
            if !self.advance() {
                return None;
            }
        }
    }

    /// The next result of the current chunk.
    fn in_hand(&mut self) -> Option<Result<R, TaskError>> {
        let result = self.current.next()?;
        self.feed.items_out = self.feed.items_out.saturating_sub(1);
        Some(result)
    }

    /// As `next`, if `is_ready` finds that the chunks under way allow it each time that one is needed.
    pub(super) fn next_if(&mut self, is_ready: impl Fn(&U) -> bool) -> Option<Option<Result<R, TaskError>>> {
        loop {
            if let Some(result) = self.in_hand() {
                return Some(Some(result));
            }
            self.fill();
            if !is_ready(&self.out) {
                return None;
            }
            if !self.advance() {
                return Some(None);
            }
        }
    }

    pub(super) fn set_chunk_size(&mut self, n_items: usize) {
        self.feed.chunk_size = n_items.max(1);
        self.feed.cut.chunk_size = Some(self.feed.chunk_size);
    }
}
