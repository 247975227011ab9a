//! Maps over iterators, for both kinds of pools: items go out in chunks, a bounded number of them at a time.

use std::{
    collections::VecDeque,
    fmt, iter,
    time::{Duration, Instant},
    vec,
};

use crate::{Task, TaskError, completed::Set};

/// How a pool cuts the input of `map` and its like into tasks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cut {
    /// Items in a chunk; `None` adapts to how long they take.
    pub(crate) chunk_size: Option<usize>,
    /// Most items that are taken from the input and not yet yielded; `None` for `CHUNKS_EACH` chunks a worker.
    pub(crate) window: Option<usize>,
    pub(crate) n_workers: usize,
    /// Most items of a chunk.
    pub(crate) max_chunk: Option<usize>,
}

/// A chunk that has been worked on.
#[derive(Debug)]
pub(crate) struct Chunk<R> {
    /// The results, but for those that failed.
    pub(crate) values: Vec<R>,
    /// Which items failed, in order, counted from the chunk's first.
    pub(crate) failures: Vec<(usize, TaskError)>,
    /// How long it took.
    pub(crate) busy: Duration,
}

impl<R> Chunk<R> {
    /// Works on `items` here and now; `f` must not unwind.
    pub(crate) fn run<A>(items: Vec<A>, f: impl Fn(A) -> Result<R, TaskError>) -> Self {
        let begun = Instant::now();
        let mut chunk = Self { values: Vec::with_capacity(items.len()), failures: Vec::new(), busy: Duration::ZERO };
        for (index, item) in items.into_iter().enumerate() {
            match f(item) {
                Ok(value) => chunk.values.push(value),
                Err(e) => chunk.failures.push((index, e)),
            }
        }
        chunk.busy = begun.elapsed();
        chunk
    }

    fn len(&self) -> usize {
        self.values.len() + self.failures.len()
    }
}

/// Chunks that one worker should have in hand, so that it need not wait for the next.
const CHUNKS_EACH: usize = 4;
/// How long a chunk should take: much longer than handing it over, much shorter than anybody's patience.
const CHUNK_TIME: Duration = Duration::from_micros(400);
const MAX_CHUNK: usize = 1 << 13;

/// The input of a map, cut into chunks that are given to a pool.
struct Feed<I: Iterator, R> {
    input: iter::Fuse<I>,
    submit: Submit<I::Item, R>,
    cut: Cut,
    chunk_size: usize,
    /// Items taken and not yet yielded.
    items_out: usize,
}

pub(crate) type Submit<A, R> = Box<dyn FnMut(Vec<A>) -> Task<Chunk<R>> + Send>;

impl<I: Iterator, R> Feed<I, R> {
    fn new(input: I, cut: Cut, submit: Submit<I::Item, R>) -> Self {
        Self { input: input.fuse(), submit, cut, chunk_size: cut.chunk_size.unwrap_or(1).max(1), items_out: 0 }
    }

    /// Gives the next chunk to the pool, unless the input has ended or enough is under way.
    fn next(&mut self, chunks_out: usize) -> Option<(usize, Task<Chunk<R>>)> {
        let room = match self.cut.window {
            Some(window) => window.max(1).saturating_sub(self.items_out),
            None if chunks_out >= CHUNKS_EACH * self.cut.n_workers => 0,
            None => usize::MAX,
        };
        // Towards the end, chunks get smaller, so that no worker is left with a big one alone.
        let fair = self.input.size_hint().1.map_or(usize::MAX, |rest| rest.div_ceil(2 * self.cut.n_workers).max(1));
        let size = match self.cut.chunk_size {
            Some(size) => size.max(1).min(room),
            None => self.chunk_size.min(room).min(fair),
        };
        let size = size.min(self.cut.max_chunk.unwrap_or(usize::MAX));
        let items: Vec<_> = self.input.by_ref().take(size).collect();
        if items.is_empty() {
            return None;
        }
        let n_items = items.len();
        self.items_out += n_items;
        Some((n_items, (self.submit)(items)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let (lower, upper) = self.input.size_hint();
        (lower.saturating_add(self.items_out), upper.and_then(|n| n.checked_add(self.items_out)))
    }

    /// Takes a chunk's outcome and learns from it how long items take.
    fn done(&mut self, n_items: usize, task: &Task<Chunk<R>>) -> Outcome<R> {
        match task.get() {
            Ok(chunk) => {
                if self.cut.chunk_size.is_none() {
                    let n_items = u32::try_from(chunk.len()).unwrap_or(u32::MAX).max(1);
                    let each = (chunk.busy / n_items).max(Duration::from_nanos(1));
                    let wanted = usize::try_from(CHUNK_TIME.as_nanos() / each.as_nanos()).unwrap_or(MAX_CHUNK);
                    self.chunk_size = wanted.clamp(1, (self.chunk_size * 8).min(MAX_CHUNK));
                }
                Outcome::Chunk {
                    index: 0,
                    values: chunk.values.into_iter(),
                    failures: chunk.failures.into_iter().peekable(),
                }
            }
            Err(e) => Outcome::Failed(iter::repeat_n(e, n_items)),
        }
    }
}

/// The results of one chunk, item by item.
enum Outcome<R> {
    Chunk { index: usize, values: vec::IntoIter<R>, failures: iter::Peekable<vec::IntoIter<(usize, TaskError)>> },
    Failed(iter::RepeatN<TaskError>),
}

impl<R> Iterator for Outcome<R> {
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Failed(errors) => errors.next().map(Err),
            Self::Chunk { index, values, failures } => {
                let failure = failures.next_if(|(at, _)| at == index);
                *index += 1;
                failure.map(|(_, e)| Err(e)).or_else(|| values.next().map(Ok))
            }
        }
    }
}

/// The results of `imap`, in the order of the input.
///
/// The input is read only as far as the window allows; `next` blocks until the next result is there. What was given to
/// the pool runs on when the iterator is dropped.
#[must_use = "nothing is read from the input before the first `next`"]
pub struct Imap<I: Iterator, R> {
    feed: Feed<I, R>,
    out: VecDeque<(usize, Task<Chunk<R>>)>,
    current: Outcome<R>,
}

impl<I: Iterator, R> Imap<I, R> {
    pub(crate) fn new(input: I, cut: Cut, submit: Submit<I::Item, R>) -> Self {
        let current = Outcome::Failed(iter::repeat_n(TaskError::Taken, 0));
        Self { feed: Feed::new(input, cut, submit), out: VecDeque::new(), current }
    }

    /// Moves on to the next chunk; false if that was the last.
    fn advance(&mut self) -> bool {
        while let Some(chunk) = self.feed.next(self.out.len()) {
            self.out.push_back(chunk);
        }
        let Some((n_items, task)) = self.out.pop_front() else { return false };
        self.current = self.feed.done(n_items, &task);
        true
    }

    /// All results, or the first failure.
    pub(crate) fn collect_all(mut self) -> Result<Vec<R>, TaskError> {
        let mut all = Vec::with_capacity(self.feed.input.size_hint().0);
        while self.advance() {
            if let Outcome::Chunk { values, failures, .. } = &mut self.current
                && failures.peek().is_none()
            {
                all.extend(values);
            }
            for result in self.current.by_ref() {
                all.push(result?);
            }
        }
        Ok(all)
    }
}

impl<I: Iterator, R> Iterator for Imap<I, R> {
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(result) = self.current.next() {
                self.feed.items_out = self.feed.items_out.saturating_sub(1);
                return Some(result);
            }
            if !self.advance() {
                return None;
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.feed.size_hint()
    }
}

impl<I: Iterator, R> fmt::Debug for Imap<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imap").field("under_way", &self.feed.items_out).finish_non_exhaustive()
    }
}

/// The results of `imap_unordered`, each as soon as it is there.
///
/// Otherwise as [`Imap`].
#[must_use = "nothing is read from the input before the first `next`"]
pub struct ImapUnordered<I: Iterator, R> {
    feed: Feed<I, R>,
    out: Set<Chunk<R>>,
    current: Outcome<R>,
}

impl<I: Iterator, R> ImapUnordered<I, R> {
    pub(crate) fn new(input: I, cut: Cut, submit: Submit<I::Item, R>) -> Self {
        let current = Outcome::Failed(iter::repeat_n(TaskError::Taken, 0));
        Self { feed: Feed::new(input, cut, submit), out: Set::default(), current }
    }

    fn advance(&mut self) -> bool {
        while let Some((n_items, task)) = self.feed.next(self.out.len()) {
            self.out.insert(n_items, task);
        }
        let Some((n_items, task)) = self.out.next() else { return false };
        self.current = self.feed.done(n_items, &task);
        true
    }
}

impl<I: Iterator, R> Iterator for ImapUnordered<I, R> {
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(result) = self.current.next() {
                self.feed.items_out = self.feed.items_out.saturating_sub(1);
                return Some(result);
            }
            if !self.advance() {
                return None;
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.feed.size_hint()
    }
}

impl<I: Iterator, R> fmt::Debug for ImapUnordered<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImapUnordered").field("under_way", &self.feed.items_out).finish_non_exhaustive()
    }
}
