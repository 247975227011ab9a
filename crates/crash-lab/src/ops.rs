//! The table of operations: a file each area, an entry each operation.
//!
//! Every operation of the workspace that another process can notice has a row, but for these:
//! * what only reads (`len`, `is_set`, `permits`, `Value::get`, …): nothing can be left half done;
//! * the scope of one process (`sync::thread`, `ipc::thread`, `ThreadPool`, `tls`): nobody survives to be told;
//! * what is another row by another name: `notify_n`, `put_bytes`, streams over pipes, `wait_while`, the manager's
//!   collections (each a call by proxy), the time limits of joinable queues, semaphores and barriers (the wait is that
//!   of the rows with a time limit);
//! * `command` and `reaper`: nothing but the kernel's own state, which goes with the process.

mod barrier;
mod daemon;
mod joinable;
mod lane;
mod listener;
mod lock;
mod manager;
mod named;
mod pipe;
mod pool;
mod proc_core;
mod queue;
mod selftest;
mod shared;
mod supervisor;
mod sync;
mod threads;

use crate::operation::Row;

/// Everything that must be survived.
pub(crate) fn all() -> Vec<Box<dyn Row>> {
    [
        selftest::operations(),
        proc_core::operations(),
        supervisor::operations(),
        daemon::operations(),
        lock::operations(),
        sync::operations(),
        barrier::operations(),
        queue::operations(),
        joinable::operations(),
        lane::operations(),
        shared::operations(),
        named::operations(),
        pipe::operations(),
        listener::operations(),
        manager::operations(),
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
