//! The words that say which process uses one half of an end.

use crate::platform::{AtomicU32, AtomicU64};

/// Which process uses one half of an end, in the pipe's memory. `claim.rs` says what each word means, and who may move it.
#[derive(Debug)]
#[repr(C)]
pub(super) struct TurnWords {
    pub(super) bias: AtomicU64,
    pub(super) busy: AtomicU32,
    pub(super) waiting: AtomicU32,
    pub(super) biased: AtomicU64,
    pub(super) holder: AtomicU64,
    pub(super) last: AtomicU64,
    pub(super) refused: AtomicU32,
    pub(super) unused: AtomicU32,
}
