//! What stands in the place of `src/barrier.rs` in a model.
//!
//! Loom knows no `membarrier`. What it guarantees is that a pair of light and heavy side is as good as a fence on both, so
//! that is what the two are in a model. Where the kernel refuses the heavy side, the light one is no fence at all.

use std::{cell::Cell, sync::atomic::Ordering::SeqCst};

use loom::sync::atomic::fence;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Membarrier {
    Works,
    /// It is refused to another thread of this model.
    IsRefusedToAnother,
    /// It is refused to this thread. `register` is not: a filter may come later than that.
    IsRefused,
}

loom::thread_local! {
    static HERE: Cell<Membarrier> = Cell::new(Membarrier::Works);
}

/// How the calling thread finds it.
pub(crate) fn set(membarrier: Membarrier) {
    HERE.with(|here| here.set(membarrier));
}

fn here() -> Membarrier {
    HERE.with(Cell::get)
}

pub(crate) fn is_refused_somewhere() -> bool {
    here() != Membarrier::Works
}

pub(crate) fn forks() -> u32 {
    0
}

pub(crate) fn register() -> bool {
    true
}

pub(crate) fn register_threads() -> bool {
    true
}

pub(crate) fn heavy() -> bool {
    let works = here() != Membarrier::IsRefused;
    if works {
        fence(SeqCst);
    }
    works
}

pub(crate) fn among_threads() -> bool {
    heavy()
}
