//! The table of operations: a file each area, an entry each operation.
//!
//! Every operation of the workspace that another process can notice has a row, but for these:
//! * what only reads (`len`, `is_set`, `permits`, `Value::get`, …): nothing can be left half done;
//! * the scope of one process (`sync::thread`, `ipc::thread`, `ThreadPool`, `tls`): nobody survives to be told;
//! * what is another row by another name: `notify_n`, `put_bytes`, the manager's collections (each a call by proxy), the
//!   time limits of joinable queues and barriers (the wait is that of the rows with a time limit);
//! * `command` and `reaper`: nothing but the kernel's own state, which goes with the process.

mod barrier;
mod daemon;
mod joinable;
mod lane;
mod listener;
mod lock;
mod logs;
mod manager;
mod named;
mod pair;
mod pipe;
mod pool;
mod proc_core;
mod queue;
mod queue_growth;
mod queue_handles;
mod queue_views;
mod selftest;
mod shared;
mod sizes;
mod supervisor;
mod sync;
mod threads;
mod tries;

use crate::operation::Row;

type Rows = Vec<Box<dyn Row>>;

/// Everything that must be survived, by the crate that promises it.
fn crates() -> Vec<(&'static str, Vec<Rows>)> {
    vec![
        ("crash-lab", vec![selftest::operations()]),
        (
            "proc-core",
            vec![
                proc_core::operations(),
                supervisor::operations(),
                daemon::operations(),
                named::operations(),
                logs::operations(),
            ],
        ),
        (
            "sync",
            vec![lock::operations(), sync::operations(), barrier::operations(), threads::locks(), tries::operations()],
        ),
        (
            "ipc",
            vec![
                queue::operations(),
                queue_views::operations(),
                queue_growth::operations(),
                queue_handles::operations(),
                joinable::operations(),
                shared::operations(),
                pipe::operations(),
                listener::operations(),
                manager::operations(),
                threads::queues(),
                sizes::operations(),
            ],
        ),
        ("pool", vec![lane::operations(), pool::operations()]),
        ("pair", vec![pair::operations()]),
    ]
}

/// The rows of the crate that is called `wanted`, or those with that in their names.
pub(crate) fn like(wanted: &str) -> Rows {
    let mut crates = crates();
    if let Some(named) = crates.iter().position(|(name, _)| *name == wanted) {
        return crates.swap_remove(named).1.into_iter().flatten().collect();
    }
    let rows = crates.into_iter().flat_map(|(_, rows)| rows).flatten();
    rows.filter(|row| row.name().contains(wanted)).collect()
}

/// Operations with a known fault each, which the lab must find.
pub(crate) fn mutants(wanted: &str) -> Rows {
    selftest::mutants().into_iter().chain(pair::mutants()).filter(|row| row.name().contains(wanted)).collect()
}
