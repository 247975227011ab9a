//! The cells that a thread keeps of a queue, to use them again; `cells.rs` has what is done with them.
//!
//! # Safety
//! Addresses are of the queue's memory, which every thread of the process reaches.
#![allow(unsafe_code)]

use std::{ptr::NonNull, sync::atomic::AtomicU64};

use super::word::BlockId;

/// How many cells a thread fills before it uses the first again: so long it need not look how far getters are, whose place
/// changes all the time.
pub(super) const LEAST: usize = 64;
/// The classes whose blocks are cells, if they are not too long.
pub(super) const CELL_CLASSES: usize = 2;

/// What a thread keeps of a queue's blocks.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) cells: [Cells; CELL_CLASSES],
    /// Up to where the ring has been taken, as far as this thread knows.
    pub(super) head: u64,
    /// Of which class the last message was.
    pub(super) usual: u8,
}

/// The cells of one class, used in turn.
#[derive(Debug, Default)]
pub(super) struct Cells {
    pub(super) turn: Vec<Cell>,
    /// The next cell to use: of those that are in the ring, it was put there first.
    pub(super) next: usize,
    /// That cell is being filled. Still so when a message's `Serialize` puts another message into the same queue.
    pub(super) busy: bool,
}

/// A cell that no other thread writes to, mapped as long as its queue is.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) block: BlockId,
    pub(super) memory: NonNull<u8>,
    /// In its record: at what place of the ring its message is or may be.
    pub(super) aim: NonNull<AtomicU64>,
    /// The place at which its last message was put, 0 for none.
    pub(super) place: u64,
}

// SAFETY: addresses that are valid in every thread of the process.
unsafe impl Send for Cell {}

impl Kept {
    pub(super) fn each(&self, each: &mut impl FnMut(BlockId, u64)) {
        self.cells.iter().flat_map(|cells| &cells.turn).for_each(|cell| each(cell.block, cell.place));
    }
}
