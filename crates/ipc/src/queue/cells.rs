//! Cells: the blocks in which a thread puts messages of some dozens or hundreds of bytes.
//!
//! A cell stays its putter's. A getter copies the message *before* it takes it: if another getter has taken it meanwhile,
//! and the putter has written something else there, then the swap that takes it fails, and the copy is thrown away. So
//! neither side changes whose the block is, and there is nothing to give back.
//!
//! A thread uses its cells in the order in which it has put them into the ring, so the one that it put there first is the
//! first to be free.
//!
//! # Safety
//! Only the thread that keeps a cell writes its bytes, once its last message is not in the ring any more. A copy that was
//! made during a write is thrown away, unread. What a thread keeps is used by that thread alone, and by no code of users:
//! while a `Serialize` runs, nothing of it is borrowed, and the cell in use is marked.
#![allow(unsafe_code)]

use std::{
    io,
    ptr::NonNull,
    sync::atomic::Ordering::{Acquire, Relaxed, Release},
};

use super::{
    barrier,
    kept::{CELL_CLASSES, Cell, Kept},
    patience::Patience,
    raw::Raw,
    ring::{Enqueue, Locate, Ring, Side, Stop},
    word::{BlockId, BlockState, CellAt, Holder, What},
};
use crate::sys::prefetch;

/// How many cells of a class a thread keeps at most.
const MOST: usize = 1024;
/// How many cells on the one lies whose cache line is asked for.
const PREFETCHED: usize = 2;
/// A cell that is being filled by the thread that keeps it.
pub(super) struct Filling<'a> {
    raw: &'a Raw,
    /// Another process's, if the message's `Serialize` has forked meanwhile.
    forks: u32,
    kept: NonNull<Kept>,
    /// The cell, among those of its class. Marked as busy, so that it stays where it is.
    cell: NonNull<Cell>,
    class: u8,
}

impl<'a> Filling<'a> {
    /// A cell of a class, or of that of the last message; `None` if there is none, or the thread is ending.
    #[inline(always)]
    pub(super) fn take(raw: &'a Raw, class: Option<u8>) -> Option<Self> {
        let mut kept = raw.here.get()?.kept()?;
        // SAFETY: it is this thread's, and has no other user while no code of users runs.
        let class = class.unwrap_or(unsafe { kept.as_mut() }.usual) & 1;
        // Made in one place, so that it can stay in registers.
        let cell = Self::next(raw, kept, class).or_else(|| Self::another(raw, kept, class))?;
        Some(Self { raw, forks: barrier::forks(), kept, cell, class })
    }

    /// The cell whose turn it is, if its last message is known to have been taken.
    #[inline(always)]
    fn next(raw: &Raw, mut kept: NonNull<Kept>, class: u8) -> Option<NonNull<Cell>> {
        // SAFETY: as in `take`.
        let shared = unsafe { kept.as_mut() };
        let cells = &mut shared.cells[usize::from(class & 1)];
        if cells.busy || cells.turn.len() < raw.least_cells {
            return None;
        }
        let cell = cells.turn.get_mut(cells.next)?;
        if cell.place > shared.head {
            // Acquire: what has been taken has been copied.
            shared.head = raw.hint(Side::Items).load(Acquire);
            if cell.place > shared.head {
                return None;
            }
        }
        cells.busy = true;
        Some(NonNull::from(cell))
    }

    #[cold]
    fn another(raw: &Raw, mut kept: NonNull<Kept>, class: u8) -> Option<NonNull<Cell>> {
        let holder = raw.here.get()?.holder;
        // SAFETY: as above.
        let cells = unsafe { &mut kept.as_mut().cells[usize::from(class)] };
        if cells.busy || raw.cell_bytes(class) == 0 {
            return None;
        }
        let is_passed = |cell: &Cell| raw.is_taken_from(cell.place.wrapping_sub(1));
        if cells.turn.len() < MOST.min(raw.positions().n_slots() as usize + 1)
            && let Ok(Some(block)) = raw.find_free(class, 0, holder)
        {
            let Some(memory) = raw.segment.cell(block) else {
                raw.free_block(block);
                return None;
            };
            let aim = NonNull::from(&raw.segment.record(block).state.second);
            cells.turn.insert(cells.next, Cell { block, memory, aim, place: 0 });
        } else if !cells.turn.get(cells.next).is_some_and(is_passed) {
            // The hint may lag behind; but there is no room behind it either.
            return None;
        }
        let cell = NonNull::from(cells.turn.get_mut(cells.next)?);
        cells.busy = true;
        Some(cell)
    }

    /// Where to write the message, and how long it can be.
    #[inline(always)]
    pub(super) fn memory(&self) -> (NonNull<u8>, usize) {
        // SAFETY: it stays where it is while it is marked as busy, and its address does not change.
        (unsafe { self.cell.as_ref() }.memory, self.raw.cell_bytes(self.class))
    }

    pub(super) fn class(&self) -> u8 {
        self.class
    }

    /// Puts the message that is in the cell, and so many bytes long.
    #[inline(always)]
    pub(super) fn put(mut self, len: usize, patience: Patience) -> Result<(), Stop> {
        if self.forks != barrier::forks() {
            // The message's `Serialize` has forked, and the cell is the parent's.
            return Err(Stop::System(io::ErrorKind::Other));
        }
        let raw = self.raw;
        // SAFETY: it is this thread's, and has no other user, as no code of users runs from here on.
        let kept = unsafe { self.kept.as_mut() };
        kept.usual = u8::from(len > raw.cell_bytes(0));
        // SAFETY: as in `memory`; nothing else refers to it as no code of users runs from here on.
        let cell = unsafe { self.cell.as_mut() };
        let payload = CellAt::new(cell.block, len).to_payload();
        // SAFETY: in the queue's memory, which is mapped as long as the handle lives.
        let record = unsafe { cell.aim.as_ref() };
        let aim = |position: u64| {
            let place = position.wrapping_add(1);
            record.store(place, Release);
            place
        };
        let mut place = 0;
        if !raw.put_at_once(What::CELL, payload, |position| place = aim(position)) {
            place = Self::put_patiently(raw, payload, patience, aim)?;
        }
        cell.place = place;
        let cells = &mut kept.cells[usize::from(self.class & 1)];
        cells.next = if cells.next + 1 < cells.turn.len() { cells.next + 1 } else { 0 };
        if let Some(soon) = cells.turn.get(cells.next + PREFETCHED) {
            prefetch::to_write(soon.memory, len);
        }
        Ok(())
    }

    /// Says at which place.
    #[cold]
    fn put_patiently(raw: &Raw, payload: u64, patience: Patience, aim: impl Fn(u64) -> u64) -> Result<u64, Stop> {
        let mut place = 0;
        raw.patiently(Side::Space, patience, || raw.try_put(What::CELL, payload, |position| place = aim(position)))?;
        Ok(place)
    }
}

impl Drop for Filling<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.forks == barrier::forks() {
            // SAFETY: as in `put`.
            unsafe { self.kept.as_mut() }.cells[usize::from(self.class & 1)].busy = false;
        }
    }
}

impl Raw {
    /// How long messages are that go into cells of a class; 0 if none do.
    #[inline(always)]
    pub(super) fn cell_bytes(&self, class: u8) -> usize {
        self.cell_bytes[usize::from(class & 1)]
    }

    /// Whether the message that was put at that position has been taken.
    fn is_taken_from(&self, position: u64) -> bool {
        self.look(position).is_some_and(|spot| spot.word.laps_ahead_of(spot.lap) > 0)
    }

    /// Gives up a cell of this process: it becomes free, or the ring's while its message is there.
    pub(super) fn let_go_of_cell(&self, block: BlockId, place: u64, me: Holder) {
        if place == 0 || self.is_taken_from(place.wrapping_sub(1)) {
            return self.free_block(block);
        }
        let state = &self.segment.record(block).state;
        if state.swap((BlockState::Held(me).to_word(), place), (BlockState::InRing.to_word(), place)) {
            self.segment.header().unattended.store(1, Relaxed);
        }
    }

    /// Where the message of a cell is, and how long it is; `Damaged` if there can be none.
    #[inline(always)]
    pub(super) fn cell_at(&self, at: CellAt) -> Result<(NonNull<u8>, usize), Stop> {
        let (block, len) = (at.block(), at.len());
        if usize::from(block.class) >= CELL_CLASSES || len > self.cell_bytes(block.class) {
            return Err(Stop::Damaged);
        }
        Ok((self.segment.cell(block).ok_or(Stop::System(io::ErrorKind::OutOfMemory))?, len))
    }
}
