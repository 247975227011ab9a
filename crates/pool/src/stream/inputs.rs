//! Which inputs of maps are open. What a map has not read of its input counts as given to the pool: it is an open entry of
//! the pool's [`Inputs`] until all of it is read.

use std::{
    sync::Arc,
    thread::{self, ThreadId},
};

use parking_lot::Mutex;

use crate::task::next_id;

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

    /// To be called by the thread that reads.
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
