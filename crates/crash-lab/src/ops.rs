//! The table of operations: a file each area, an entry each operation.

mod barrier;
mod joinable;
mod lane;
mod lock;
mod pipe;
mod pool;
mod proc_core;
mod queue;
mod selftest;
mod shared;
mod sync;
mod threads;

use crate::operation::Row;

/// Everything that must be survived.
pub(crate) fn all() -> Vec<Box<dyn Row>> {
    [
        selftest::operations(),
        proc_core::operations(),
        lock::operations(),
        sync::operations(),
        barrier::operations(),
        queue::operations(),
        joinable::operations(),
        lane::operations(),
        shared::operations(),
        pipe::operations(),
        pool::operations(),
        threads::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Operations with a known fault each, which the lab must find.
pub(crate) fn mutants() -> Vec<Box<dyn Row>> {
    selftest::mutants()
}
