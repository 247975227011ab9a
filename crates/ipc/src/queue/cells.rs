//! Cells: the blocks in which a thread puts messages of some dozens or hundreds of bytes.
//!
//! A cell stays its putter's. Whoever gets the message copies it *before* it is taken: if somebody else has taken it
//! meanwhile, and the putter has written something else there, then the swap that takes it fails, and the copy is thrown
//! away. So neither side changes whose the block is, and there is nothing to give back.
//!
//! A thread uses its cells in the order in which it has put them into the ring, so the one that it put there first is the
//! first to be free.
//!
//! # Safety
//! A cell's bytes are written only by the thread that keeps it, while its last message is not in the ring any more. A copy
//! of what was written at the same time is thrown away, unread.
#![allow(unsafe_code)]

use std::{
    collections::VecDeque,
    ptr::NonNull,
    sync::atomic::Ordering::{Acquire, Relaxed, Release},
};

use super::{
    layout::CELL_MAX,
    raw::Raw,
    ring::{Ring, Side, Stop},
    word::{BlockId, BlockState, CellAt, Holder},
};

/// How many cells of a class a thread keeps at most.
const MOST: usize = 1024;
/// The classes whose blocks are cells, if they are not too long.
pub(super) const CELL_CLASSES: usize = 2;

/// What a thread keeps of a queue's blocks.
#[derive(Debug, Default)]
pub(super) struct Kept {
    cells: [VecDeque<Cell>; CELL_CLASSES],
    /// Up to where the ring has been taken, as far as this thread knows.
    head: u64,
    /// Of which class the last message was.
    usual: u8,
}

/// A cell that nobody else uses, and at what place of the ring its last message is or was; 0 for none.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) block: BlockId,
    place: u64,
}

impl Kept {
    pub(super) fn each(&self, each: &mut impl FnMut(BlockId, u64)) {
        self.cells.iter().flatten().for_each(|cell| each(cell.block, cell.place));
    }
}

impl Raw {
    /// How long messages are that go into cells of a class; 0 if none do.
    #[inline(always)]
    pub(super) fn cell_bytes(&self, class: u8) -> usize {
        let bytes = self.segment.geometry.classes[usize::from(class)].block_bytes;
        if bytes <= CELL_MAX { bytes } else { 0 }
    }

    /// The class of cells to try first.
    #[inline(always)]
    pub(super) fn usual_class(&self) -> Option<u8> {
        self.here.get()?.with_kept(|kept| kept.usual)
    }

    /// A cell to write a message into, if there is one.
    #[inline(always)]
    pub(super) fn take_cell(&self, class: u8) -> Option<Cell> {
        let here = self.here.get()?;
        let cell = here.with_kept(|kept| {
            let first = kept.cells[usize::from(class)].front()?;
            if first.place > kept.head {
                kept.head = self.hint(Side::Items).load(Acquire);
            }
            if first.place <= kept.head { kept.cells[usize::from(class)].pop_front() } else { None }
        })?;
        if cell.is_some() { cell } else { self.take_another_cell(class) }
    }

    #[cold]
    fn take_another_cell(&self, class: u8) -> Option<Cell> {
        let here = self.here.get()?;
        let kept = here.with_kept(|kept| kept.cells[usize::from(class)].len())?;
        if kept < MOST.min(self.positions().capacity as usize + 1)
            && let Ok(Some(block)) = self.find_free(class, 0, here.holder)
        {
            return Some(Cell { block, place: 0 });
        }
        // The hint may lag behind.
        here.with_kept(|kept| {
            let cells = &mut kept.cells[usize::from(class)];
            let is_passed = self.is_taken_from(cells.front()?.place.wrapping_sub(1));
            if is_passed { cells.pop_front() } else { None }
        })?
    }

    /// Whether the message that was put at that position has been taken.
    fn is_taken_from(&self, position: u64) -> bool {
        self.look(position).is_some_and(|spot| spot.word.laps_ahead_of(spot.lap) > 0)
    }

    /// Where a cell is mapped.
    #[inline(always)]
    pub(super) fn cell_memory(&self, block: BlockId) -> Option<NonNull<u8>> {
        self.segment.cell(block)
    }

    /// Keeps a cell whose message was put at that place, or that is as free as it was if that is 0.
    #[inline(always)]
    pub(super) fn keep_cell(&self, cell: Cell, place: u64) {
        let class = cell.block.class;
        let Some(here) = self.here.get() else { return };
        let kept = here.with_kept(|kept| {
            let cells = &mut kept.cells[usize::from(class)];
            if place == 0 {
                cells.push_front(Cell { place: 0, ..cell });
            } else {
                kept.usual = class;
                cells.push_back(Cell { place, ..cell });
            }
        });
        if kept.is_none() {
            // The thread is ending, and keeps nothing any more.
            self.let_go_of_cell(cell.block, place, here.holder);
        }
    }

    /// Says at what place of the ring the message of a cell is about to be, before it is.
    #[inline(always)]
    pub(super) fn aim_cell(&self, block: BlockId, position: u64) {
        self.segment.record(block).state.second.store(position.wrapping_add(1), Release);
    }

    /// Gives up a cell of this process: to nobody, or to the ring while its message is there.
    pub(super) fn let_go_of_cell(&self, block: BlockId, place: u64, me: Holder) {
        if place == 0 || self.is_taken_from(place.wrapping_sub(1)) {
            return self.free_block(block);
        }
        let state = &self.segment.record(block).state;
        if state.swap((BlockState::Held(me).to_word(), place), (BlockState::InRing.to_word(), place)) {
            self.segment.header().unattended.store(1, Relaxed);
        }
    }

    /// Copies the message of a cell; `Damaged` if there can be none.
    #[inline(always)]
    pub(super) fn copy_cell(&self, at: CellAt, copy: impl FnOnce(NonNull<u8>, usize)) -> Result<(), Stop> {
        let (block, len) = (at.block(), at.len());
        if usize::from(block.class) >= CELL_CLASSES || len > self.cell_bytes(block.class) {
            return Err(Stop::Damaged);
        }
        copy(self.cell_memory(block).ok_or(Stop::System(std::io::ErrorKind::OutOfMemory))?, len);
        Ok(())
    }
}
