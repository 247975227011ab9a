//! One chunk of a map: what a worker makes of it, and its results item by item.

use std::{
    iter,
    time::{Duration, Instant},
    vec,
};

use crate::TaskError;

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
    /// One of `n_items` that no worker has worked on.
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

    pub(super) fn len(&self) -> usize {
        self.values.len() + self.failures.len()
    }
}

/// The results of one chunk, item by item.
pub(super) enum Outcome<R> {
    Chunk { index: usize, values: vec::IntoIter<R>, failures: iter::Peekable<vec::IntoIter<(usize, TaskError)>> },
    Failed(iter::RepeatN<TaskError>),
}

impl<R> Outcome<R> {
    pub(super) fn of(n_items: usize, chunk: Result<Chunk<R>, TaskError>) -> Self {
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
