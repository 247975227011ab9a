//! Messages that do not fit into a slot lie in blocks: small, medium and large ones, each with a word that names its
//! owner. Users rotate through the lowest blocks, so the memory in use is about what the longest queue needed, and warm.
//!
//! # Safety
//! A block's bytes are written and read only by who holds it. Another process that does not keep to that can change
//! them; they are plain bytes, and are copied before anybody interprets them.
#![allow(unsafe_code)]

use std::{
    io,
    ptr::NonNull,
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use super::{
    barrier,
    layout::{BlockId, PAGE, RECORDS_STEP},
    protocol::{Claim, Ring, Stop},
    ring::Raw,
    segment::BlockMemory,
    word::BlockState,
};

/// Beyond that, a block's memory is given back as soon as it is free.
const KEPT_BYTES: u64 = 32 << 20;
/// Messages beyond that are checked against the file's memory before anything is allocated for them.
const SUSPICIOUS_BYTES: usize = 1 << 20;

/// Memory that is kept for the next message to be decoded, at most.
const MAX_SPARE: usize = 4 << 20;

/// Through how many blocks of a class its users rotate, so that one does not wait for the very cache lines that the other
/// has just let go of. Large ones are few, as their memory is worth more.
const ROTATION: [u32; 3] = [64, 8, 4];
/// Larger messages fit into no cache, and have nothing to gain by rotation.
const CACHED_BYTES: usize = 4 << 20;
/// The class of those that are mapped one by one.
const LARGE: u8 = 2;
/// How many of the lowest blocks are looked at when a rotation ends.
const LOWEST: u32 = 4;

/// A block that this process holds; freed when dropped.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    raw: &'a Raw,
    id: BlockId,
    len: usize,
    generation: u32,
}

impl<'a> Block<'a> {
    /// Takes a free block for `len` bytes, with memory behind it.
    pub(crate) fn take(raw: &'a Raw, len: usize) -> Result<Self, Stop> {
        let smallest = raw.segment.geometry.class_for(len).ok_or(Stop::System(io::ErrorKind::FileTooLarge))?;
        let id = (smallest..3).find_map(|class| raw.find_free(class, len).transpose()).unwrap_or(Err(Stop::Level))?;
        let record = raw.segment.record(id);
        record.len.store(len as u64, Relaxed);
        record.origin.store(0, Relaxed);
        let block = Self { raw, id, len, generation: barrier::forks() };
        if record.reserved.load(Relaxed) < len as u64 {
            let bytes =
                if id.class == 0 { raw.segment.geometry.classes[0].block_bytes } else { len.next_multiple_of(PAGE) };
            raw.segment.reserve_block(id, bytes)?;
            record.reserved.store(bytes as u64, Relaxed);
        }
        Ok(block)
    }

    /// Takes the block of a message out of its slot, which `claim` has claimed for reading.
    pub(crate) fn detach(raw: &'a Raw, id: BlockId, claim: &Claim<'_>) -> Result<Self, Stop> {
        let record = raw.segment.record(id);
        let attached = BlockState::attached(claim.slot, claim.lap).to_word();
        let held = BlockState::Held(raw.holder()?).to_word();
        let len = usize::try_from(record.len.load(Relaxed)).unwrap_or(usize::MAX);
        if record.word.compare_exchange(attached, held, AcqRel, Relaxed).is_err() {
            return Err(raw.quarantine());
        }
        let block = Self { raw, id, len, generation: barrier::forks() };
        if raw.is_plausible(id, len) { Ok(block) } else { Err(raw.quarantine()) }
    }

    pub(crate) fn raw(&self) -> &'a Raw {
        self.raw
    }

    pub(crate) fn id(&self) -> BlockId {
        self.id
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Makes the message shorter.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.raw.segment.record(self.id).len.store(self.len as u64, Relaxed);
    }

    /// Where its bytes are mapped.
    pub(crate) fn memory(&self) -> io::Result<BlockMemory> {
        self.raw.segment.block(self.id, self.len)
    }

    /// Copies `bytes`, as many as the block is long, into it.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        assert_eq!(bytes.len(), self.len);
        let memory = self.memory()?;
        // SAFETY: `len` bytes are mapped there, and they are this block's alone.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), memory.start.as_ptr(), self.len) };
        Ok(())
    }

    /// Copies its bytes out.
    pub(crate) fn into_vec(self) -> Result<Vec<u8>, Stop> {
        self.raw.copy_of(self.id, self.len)
    }

    /// Copies its bytes out and has them looked at, by way of memory that is kept for the next such message.
    pub(crate) fn read<R>(self, look: impl FnOnce(&[u8]) -> R) -> Result<R, Stop> {
        let raw = self.raw;
        let mut bytes = raw.spare.try_lock().map(|mut spare| std::mem::take(&mut *spare)).unwrap_or_default();
        raw.copy_into(self.id, self.len, &mut bytes)?;
        drop(self);
        let seen = look(&bytes);
        if bytes.capacity() <= MAX_SPARE
            && let Some(mut spare) = raw.spare.try_lock()
        {
            *spare = bytes;
        }
        Ok(seen)
    }

    /// The block belongs to a message in the ring now.
    pub(crate) fn given_away(&mut self) {
        self.generation = u32::MAX;
    }
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        // A forked child holds copies of its parent's values, not the parent's blocks.
        if self.generation == barrier::forks() {
            self.raw.free_block(self.id);
        }
    }
}

impl Raw {
    /// Whether a block can hold a message of that length. A long one must have its memory already.
    pub(crate) fn is_plausible(&self, id: BlockId, len: usize) -> bool {
        len <= self.segment.geometry.classes[usize::from(id.class)].block_bytes
            && (len <= SUSPICIOUS_BYTES || self.segment.memory_bytes() >= len as u64)
    }

    /// A copy of a block's bytes: nothing is interpreted while others could still change it.
    pub(crate) fn copy_of(&self, id: BlockId, len: usize) -> Result<Vec<u8>, Stop> {
        let mut bytes = Vec::new();
        self.copy_into(id, len, &mut bytes)?;
        Ok(bytes)
    }

    /// The same, in place of what is in `bytes`.
    fn copy_into(&self, id: BlockId, len: usize, bytes: &mut Vec<u8>) -> Result<(), Stop> {
        bytes.clear();
        bytes.try_reserve_exact(len).map_err(|_| Stop::System(io::ErrorKind::OutOfMemory))?;
        match self.segment.block(id, len) {
            Ok(memory) => {
                // SAFETY: `len` bytes are mapped there; the vector has room for them, and is not shared.
                unsafe { copy_to(memory.start, bytes, len) };
            }
            Err(_) => {
                bytes.resize(len, 0);
                self.segment.read_block(id, bytes)?;
            }
        }
        Ok(())
    }

    /// Claims a free block of a class, a low one, for `len` bytes; `None` if all are taken.
    fn find_free(&self, class: u8, len: usize) -> Result<Option<BlockId>, Stop> {
        let rotation = if len <= CACHED_BYTES { ROTATION[usize::from(class)] } else { 1 };
        let held = BlockState::Held(self.holder()?).to_word();
        let shape = &self.segment.geometry.classes[usize::from(class)];
        let pool = &self.segment.header().pools[usize::from(class)];
        let mut swept = false;
        loop {
            let high = pool.high.load(Relaxed).min(shape.count);
            let next = pool.free.load(Relaxed).min(high);
            let is_free = |index| self.segment.record(BlockId { class, index }).word.load(Relaxed) == 0;
            let order = if class == LARGE {
                // Beyond the rotation the lowest, however long the search: memory that is in use already is worth it.
                let turn = next % rotation;
                [turn..rotation, 0..turn, rotation..high]
            } else {
                let over = next.is_multiple_of(rotation);
                let first = if over && (0..LOWEST.min(high)).any(is_free) { 0 } else { next };
                [first..high, 0..first, 0..0]
            };
            let free = order.into_iter().flatten().find(|index| {
                let word = &self.segment.record(BlockId { class, index: *index }).word;
                word.load(Relaxed) == 0 && word.compare_exchange(0, held, Acquire, Relaxed).is_ok()
            });
            if let Some(index) = free {
                pool.free.store(index + 1, Relaxed);
                return Ok(Some(BlockId { class, index }));
            }
            if high < shape.count {
                let offset = shape.records_at + high as usize * size_of::<super::layout::Record>();
                self.segment.reserve_control(offset, PAGE)?;
                pool.high.fetch_max((high + RECORDS_STEP).min(shape.count), Relaxed);
            } else if !swept {
                self.sweep_the_dead();
                swept = true;
            } else {
                return Ok(None);
            }
        }
    }

    /// Gives back a block that this process holds.
    pub(crate) fn free_block(&self, id: BlockId) {
        let record = self.segment.record(id);
        if record.reserved.load(Relaxed) > KEPT_BYTES {
            self.release_memory(id);
        }
        record.word.store(BlockState::Free.to_word(), Release);
    }

    /// Gives back the memory of a block that this process holds; small ones share their pages and keep them.
    pub(crate) fn release_memory(&self, id: BlockId) {
        if id.class == 0 {
            return;
        }
        // Noted first: killed in between, the next user reserves once more.
        self.segment.record(id).reserved.store(0, Relaxed);
        // Without success the memory is kept, which harms nothing.
        let _ = self.segment.release_block(id);
    }

    /// Every block that may be in use.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = BlockId> {
        (0..3u8).flat_map(|class| {
            let count = self.segment.geometry.classes[usize::from(class)].count;
            let high = self.segment.header().pools[usize::from(class)].high.load(Relaxed).min(count);
            (0..high).map(move |index| BlockId { class, index })
        })
    }

    /// Gives back the memory of all free blocks: done by who finds nothing to do.
    pub(crate) fn trim(&self) {
        drop(self.spare.try_lock().map(|mut spare| std::mem::take(&mut *spare)));
        let Ok(holder) = self.holder() else { return };
        let held = BlockState::Held(holder).to_word();
        for id in self.blocks().filter(|id| id.class > 0) {
            let record = self.segment.record(id);
            if record.reserved.load(Relaxed) != 0
                && record.word.load(Relaxed) == 0
                && record.word.compare_exchange(0, held, Acquire, Relaxed).is_ok()
            {
                self.release_memory(id);
                record.word.store(BlockState::Free.to_word(), Release);
            }
        }
    }
}

/// # Safety
/// `len` bytes at `from` must be readable, and `into` must be empty with a capacity of `len` at least.
unsafe fn copy_to(from: NonNull<u8>, into: &mut Vec<u8>, len: usize) {
    // SAFETY: the caller's word.
    unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), into.as_mut_ptr(), len) };
    // SAFETY: just written.
    unsafe { into.set_len(len) };
}
