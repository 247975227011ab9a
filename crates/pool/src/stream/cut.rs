//! How the input of a map is cut into tasks.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use crate::PoolError;

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
