//! Rows for the mode `pair`: two operations that are held at once, and a third process that works beside them.

mod lane;
mod locks;
mod logs;
mod mutants;
mod pipe;

mod queue;
mod sync;

pub(super) use mutants::mutants;

use super::Rows;

/// Counter of every row here: how often the third process has worked.
const PHASE: usize = 40;
/// Counter: the youngest item that the third process has put and taken itself.
const YOUNGEST: usize = 41;

/// All rows that must survive.
pub(super) fn operations() -> Rows {
    [
        queue::operations(),
        locks::operations(),
        sync::operations(),
        lane::operations(),
        pipe::operations(),
        logs::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
