//! Maps over iterators, for both kinds of pools: items go out in chunks, a bounded number of them at a time.
//!
//! What a map has not read of its input counts as given to the pool: it is an open entry of the pool's [`Inputs`] until
//! all of it is read.

use std::{
    any::Any,
    collections::VecDeque,
    error, fmt, iter,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    thread::{self, ThreadId},
    time::{Duration, Instant},
    vec,
};

use kernel::futex::Deadline;
use parking_lot::Mutex;

use crate::{PoolError, Task, TaskError, completed::Set, task::next_id};

/// How a pool cuts the input of `map` and its like into tasks.
#[derive(Clone, Debug, Default)]
pub struct Cut {
    /// Items in a chunk; `None` adapts to how long they take.
    pub chunk_size: Option<usize>,
    /// Most items that are taken from the input and not yet yielded; `None` for `CHUNKS_EACH` chunks a worker.
    pub window: Option<usize>,
    /// Shared with the pool, whose size may change while a map is under way. `Relaxed`: only how the input is cut depends on it.
    pub n_workers: Arc<AtomicUsize>,
}

impl Cut {
    /// How many workers there are now.
    pub fn n_workers(&self) -> usize {
        self.n_workers.load(Relaxed)
    }

    /// The same, but for one map.
    pub(crate) fn with_chunk_size(self, n_items: usize) -> Self {
        Self { chunk_size: Some(n_items.max(1)), ..self }
    }

    /// Refuses zeros, with `n_workers` to be.
    pub(crate) fn check(&self, n_workers: usize) -> Result<(), PoolError> {
        PoolError::refuse_zero("workers", Some(n_workers))?;
        PoolError::refuse_zero("chunk_size", self.chunk_size)?;
        PoolError::refuse_zero("window", self.window)
    }
}

/// A chunk that has been worked on.
#[derive(Debug)]
pub struct Chunk<R> {
    /// The results, but for those that failed.
    pub values: Vec<R>,
    /// Which items failed, in order, counted from the chunk's first.
    pub failures: Vec<(usize, TaskError)>,
    /// How long it took.
    pub busy: Duration,
    /// How often it had to be given to a worker, for want of room for all its results at once.
    pub n_rounds: usize,
}

impl<R> Chunk<R> {
    /// One of `n_items` that nobody has worked on.
    pub(crate) fn new(n_items: usize) -> Self {
        Self { values: Vec::with_capacity(n_items), failures: Vec::new(), busy: Duration::ZERO, n_rounds: 0 }
    }

    /// Works on `items` here and now; `caught` is to catch a panic of what it calls.
    pub(crate) fn run<A>(
        items: Vec<A>,
        f: impl Fn(A) -> R,
        caught: impl Fn(&mut dyn FnMut()) -> Result<(), TaskError>,
    ) -> Self {
        let begun = Instant::now();
        let mut chunk = Self { n_rounds: 1, ..Self::new(items.len()) };
        let mut items = items.into_iter();
        // One guard for all items up to the next that fails: it costs more than a tiny call.
        while let Err(why) = caught(&mut || items.by_ref().for_each(|item| chunk.values.push(f(item)))) {
            chunk.failures.push((chunk.len(), why));
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
const CHUNK_TIME: Duration = Duration::from_micros(800);
/// Results of eight bytes, so many, fit a worker's stream buffer.
const MAX_CHUNK: usize = 8000;

/// The input of a map, cut into chunks that are given to a pool.
struct Feed<I: Iterator, R> {
    input: iter::Fuse<I>,
    /// `None` once all of the input is read: that closes its entry of the pool's inputs.
    submit: Option<Submit<I::Item, R>>,
    cut: Cut,
    chunk_size: usize,
    max_chunk: usize,
    /// Items taken and not yet yielded.
    items_out: usize,
    /// What the input panicked with. It is passed on after the results of the items before.
    panic: Option<Box<dyn Any + Send>>,
}

/// Gives a chunk of items to a pool.
pub type Submit<A, R> = Box<dyn FnMut(Vec<A>) -> Task<Chunk<R>> + Send>;

impl<I: Iterator, R> Feed<I, R> {
    fn new(input: I, cut: Cut, submit: Submit<I::Item, R>) -> Self {
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
    fn next(&mut self, chunks_out: usize) -> Option<(usize, Task<Chunk<R>>)> {
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

    fn size_hint(&self) -> (usize, Option<usize>) {
        let (lower, upper) = if self.submit.is_some() { self.input.size_hint() } else { (0, Some(0)) };
        (lower.saturating_add(self.items_out), upper.and_then(|n| n.checked_add(self.items_out)))
    }

    /// Ends the map, as its input did.
    fn end(&mut self) {
        if let Some(panic) = self.panic.take() {
            resume_unwind(panic);
        }
    }

    /// Takes a chunk's outcome and learns from it how long items take.
    fn done(&mut self, task: &Task<Chunk<R>>) -> Result<Chunk<R>, TaskError> {
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

/// The inputs of maps that are not read to their end yet, each with the thread that reads it.
#[derive(Debug, Default)]
pub struct Inputs(Mutex<Vec<(u64, ThreadId)>>);

impl Inputs {
    /// Enters an input, which the calling thread reads.
    pub(crate) fn enter(&self) -> u64 {
        let id = next_id();
        self.0.lock().push((id, thread::current().id()));
        id
    }

    /// Notes that another thread, this one, reads it.
    pub(crate) fn hand_to_this_thread(&self, id: u64) {
        if let Some((_, reader)) = self.0.lock().iter_mut().find(|(open, _)| *open == id) {
            *reader = thread::current().id();
        }
    }

    pub(crate) fn leave(&self, id: u64) {
        self.0.lock().retain(|(open, _)| *open != id);
    }

    /// Whether all have been read.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Whether the calling thread is the only one that could read on.
    pub fn all_wait_for_this_thread(&self) -> bool {
        self.0.lock().iter().all(|(_, reader)| *reader == thread::current().id())
    }
}

/// A pool with inputs.
pub trait HasInputs {
    /// Those of its maps.
    fn inputs(&self) -> &Inputs;

    /// An input was read to its end, or dropped.
    fn left(&self);
}

/// An input's entry, as long as it is open. Tasks that come by it are taken by a pool that is closed, too.
#[derive(Debug)]
pub struct Open<P: HasInputs> {
    pool: Arc<P>,
    id: u64,
    reader: ThreadId,
}

impl<P: HasInputs> Open<P> {
    /// Enters the input of a map, which the calling thread reads.
    pub fn new(pool: &Arc<P>) -> Self {
        Self { pool: pool.clone(), id: pool.inputs().enter(), reader: thread::current().id() }
    }

    /// To be called by who reads.
    pub fn is_read(&mut self) {
        let reader = thread::current().id();
        if self.reader != reader {
            self.reader = reader;
            self.pool.inputs().hand_to_this_thread(self.id);
        }
    }
}

impl<P: HasInputs> Drop for Open<P> {
    fn drop(&mut self) {
        self.pool.inputs().leave(self.id);
        self.pool.left();
    }
}

/// The results of one chunk, item by item.
enum Outcome<R> {
    Chunk { index: usize, values: vec::IntoIter<R>, failures: iter::Peekable<vec::IntoIter<(usize, TaskError)>> },
    Failed(iter::RepeatN<TaskError>),
}

impl<R> Outcome<R> {
    fn of(n_items: usize, chunk: Result<Chunk<R>, TaskError>) -> Self {
        match chunk {
            Ok(chunk) => Self::Chunk {
                index: 0,
                values: chunk.values.into_iter(),
                failures: chunk.failures.into_iter().peekable(),
            },
            Err(e) => Self::Failed(iter::repeat_n(e, n_items)),
        }
    }
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

/// The results of a map over an iterator, chunk by chunk and item by item.
struct Results<I: Iterator, R, U> {
    feed: Feed<I, R>,
    out: U,
    current: Outcome<R>,
}

impl<I: Iterator, R, U: UnderWay<R>> Results<I, R, U> {
    fn new(input: I, cut: Cut, submit: Submit<I::Item, R>) -> Self {
        let current = Outcome::Failed(iter::repeat_n(TaskError::Taken, 0));
        Self { feed: Feed::new(input, cut, submit), out: U::default(), current }
    }

    /// Gives chunks to the pool, as many as may be under way.
    fn fill(&mut self) {
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

    fn next(&mut self) -> Option<Result<R, TaskError>> {
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
    fn next_if(&mut self, is_ready: impl Fn(&U) -> bool) -> Option<Option<Result<R, TaskError>>> {
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

    fn set_chunk_size(&mut self, n_items: usize) {
        self.feed.chunk_size = n_items.max(1);
        self.feed.cut.chunk_size = Some(self.feed.chunk_size);
    }
}

/// No result has come in time; it may still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut;

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")
    }
}

impl error::Error for TimedOut {}

/// All results in the order of the input, or the first failure. What is under way at the deadline is cancelled.
pub(crate) fn map<I: Iterator, R>(
    input: I,
    cut: Cut,
    submit: Submit<I::Item, R>,
    deadline: Option<Deadline>,
) -> Result<Vec<R>, TaskError> {
    let mut results: Results<I, R, VecDeque<_>> = Results::new(input, cut, submit);
    let mut all = Vec::with_capacity(results.feed.input.size_hint().0);
    loop {
        results.fill();
        // Nobody waits for single results: be woken for several at a time.
        if results.out.front().is_some_and(|(_, first)| !first.ready()) {
            results.out[results.out.len() / 2].1.0.wait(deadline);
            if !results.out.wait(deadline) {
                results.out.iter().for_each(|(_, task)| _ = task.cancel());
                return Err(TaskError::TimedOut);
            }
        }
        let Some((n_items, task)) = results.out.next() else {
            results.feed.end();
            return Ok(all);
        };
        let mut chunk = results.feed.done(&task)?;
        if !chunk.failures.is_empty() {
            return Err(chunk.failures.swap_remove(0).1);
        }
        results.feed.items_out -= n_items;
        all.append(&mut chunk.values);
    }
}

macro_rules! iterators {
    ($($(#[$doc:meta])* $name:ident, $stream:ident: $under_way:ty;)*) => {
        $(
            $(#[$doc])*
            #[must_use = "nothing is read from the input before the first `next`"]
            pub struct $name<I: Iterator, R>(Results<I, R, $under_way>);

            impl<I: Iterator, R> $name<I, R> {
                pub(crate) fn new(input: I, cut: Cut, submit: Submit<I::Item, R>) -> Self {
                    Self(Results::new(input, cut, submit))
                }

                /// So many items make one task of this map, whatever the pool's own
                /// [`chunk_size`](crate::ProcessPoolBuilder::chunk_size) is; for what is not yet read from the input.
                #[doc(alias = "chunksize")]
                pub fn chunk_size(mut self, n_items: usize) -> Self {
                    self.0.set_chunk_size(n_items);
                    self
                }

                /// As `next`, for at most `timeout`.
                ///
                /// # Errors
                /// [`TimedOut`] if there is no result by then. It is not lost.
                pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Result<R, TaskError>>, TimedOut> {
                    let deadline = Deadline::after(timeout);
                    self.0.next_if(|out| out.wait(deadline)).ok_or(TimedOut)
                }

                /// The results as a [`Stream`](futures_core::Stream), on any runtime. The input is still read by
                /// whoever polls, and must not block.
                pub fn into_stream(self) -> $stream<I, R> {
                    $stream(self)
                }
            }

            #[doc = concat!("The results of an [`", stringify!($name), "`] as a stream.")]
            #[derive(Debug)]
            #[must_use = "nothing is read from the input before the first poll"]
            pub struct $stream<I: Iterator, R>($name<I, R>);

            /// Nothing in it is pinned.
            impl<I: Iterator, R> Unpin for $stream<I, R> {}

            impl<I: Iterator, R> futures_core::Stream for $stream<I, R> {
                type Item = Result<R, TaskError>;

                fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
                    let results = &mut self.get_mut().0.0;
                    results.next_if(|out| out.poll(context.waker())).map_or(Poll::Pending, Poll::Ready)
                }

                fn size_hint(&self) -> (usize, Option<usize>) {
                    self.0.size_hint()
                }
            }

            impl<I: Iterator, R> Iterator for $name<I, R> {
                type Item = Result<R, TaskError>;

                fn next(&mut self) -> Option<Self::Item> {
                    self.0.next()
                }

                fn size_hint(&self) -> (usize, Option<usize>) {
                    self.0.feed.size_hint()
                }
            }

            impl<I: Iterator, R> fmt::Debug for $name<I, R> {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.debug_struct(stringify!($name)).field("under_way", &self.0.feed.items_out).finish_non_exhaustive()
                }
            }
        )*
    };
}
iterators!(
    /// The results of `imap`, in the order of the input.
    ///
    /// The input is read only as far as the window allows; `next` blocks until the next result is there. What was given
    /// to the pool runs on when the iterator is dropped. After the pool's `close` the rest of the input is read and worked
    /// on as before it, and the pool's workers stay until then. If the input panics, `next` does so, after the results of
    /// all items before.
    Imap, ImapStream: VecDeque<(usize, Task<Chunk<R>>)>;
    /// The results of `imap_unordered`, each as soon as it is there.
    ///
    /// Otherwise as [`Imap`].
    ImapUnordered, ImapUnorderedStream: Set<Chunk<R>>;
);
