//! The input of a map, which is read as far as there is room.

use std::{
    any::Any,
    iter,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::Duration,
};

use super::{chunk::Chunk, cut::Cut};
use crate::{Task, TaskError};

/// Chunks that one worker should have in hand, so that it need not wait for the next.
const CHUNKS_EACH: usize = 4;
/// How long a chunk should take: much longer than handing it over, much shorter than a person notices.
const CHUNK_TIME: Duration = Duration::from_micros(800);
/// Results of eight bytes, so many, fit a worker's stream buffer.
const MAX_CHUNK: usize = 8000;

/// The input of a map, cut into chunks that are given to a pool.
pub(super) struct Feed<I: Iterator, R> {
    pub(super) input: iter::Fuse<I>,
    /// `None` once all of the input is read: that closes its entry of the pool's inputs.
    submit: Option<Submit<I::Item, R>>,
    pub(super) cut: Cut,
    pub(super) chunk_size: usize,
    max_chunk: usize,
    /// Items taken and not yet yielded.
    pub(super) items_out: usize,
    /// What the input panicked with. It is passed on after the results of the items before.
    panic: Option<Box<dyn Any + Send>>,
}

/// Gives a chunk of items to a pool.
pub type Submit<A, R> = Box<dyn FnMut(Vec<A>) -> Task<Chunk<R>> + Send>;

impl<I: Iterator, R> Feed<I, R> {
    pub(super) fn new(input: I, cut: Cut, submit: Submit<I::Item, R>) -> Self {
        let chunk_size = cut.chunk_size.unwrap_or(1);
        Self {
            input: input.fuse(),
            submit: Some(submit),
            cut,
            chunk_size,
            max_chunk: MAX_CHUNK,
            items_out: 0,
            panic: None,
        }
    }

    /// Gives the next chunk to the pool, unless the input has ended or enough is under way.
    pub(super) fn next(&mut self, chunks_out: usize) -> Option<(usize, Task<Chunk<R>>)> {
        let room = match self.cut.window {
            Some(window) => window.saturating_sub(self.items_out),
            None if chunks_out >= CHUNKS_EACH * self.cut.n_workers() => 0,
            None => usize::MAX,
        };
        // Towards the end, chunks get smaller, so that no worker is left with a big one alone.
        let fair = self.input.size_hint().1.map_or(usize::MAX, |rest| rest.div_ceil(2 * self.cut.n_workers()).max(1));
        let size = match self.cut.chunk_size {
            Some(size) => size.min(room),
            None => self.chunk_size.min(room).min(fair),
        };
        let submit = self.submit.as_mut().filter(|_| size > 0)?;
        let mut items = Vec::new();
        let read = catch_unwind(AssertUnwindSafe(|| items.extend(self.input.by_ref().take(size))));
        self.panic = read.err();
        let n_items = items.len();
        let task = (n_items > 0).then(|| submit(items));
        if n_items < size || self.input.size_hint().1 == Some(0) {
            self.submit = None;
        }
        self.items_out += n_items;
        Some((n_items, task?))
    }

    pub(super) fn size_hint(&self) -> (usize, Option<usize>) {
        let (lower, upper) = if self.submit.is_some() { self.input.size_hint() } else { (0, Some(0)) };
        (lower.saturating_add(self.items_out), upper.and_then(|n| n.checked_add(self.items_out)))
    }

    /// Ends the map, as its input did.
    pub(super) fn end(&mut self) {
        if let Some(panic) = self.panic.take() {
            resume_unwind(panic);
        }
    }

    /// Takes a chunk's outcome and learns from it how long items take.
    pub(super) fn done(&mut self, task: &Task<Chunk<R>>) -> Result<Chunk<R>, TaskError> {
        let chunk = task.get()?;
        if self.cut.chunk_size.is_none() {
            if chunk.n_rounds > 1 {
                self.max_chunk = (chunk.len() / chunk.n_rounds).max(1);
            }
            let n_items = u32::try_from(chunk.len()).unwrap_or(u32::MAX).max(1);
            let each = (chunk.busy / n_items).max(Duration::from_nanos(1));
            let wanted = usize::try_from(CHUNK_TIME.as_nanos() / each.as_nanos()).unwrap_or(MAX_CHUNK);
            self.chunk_size = wanted.clamp(1, (self.chunk_size * 64).min(self.max_chunk));
        }
        Ok(chunk)
    }
}
