//! Messages that do not fit into a slot lie in blocks: small, medium and large ones, each with a word that names its
//! owner. Users rotate through the lowest blocks, so the memory in use is about what the longest queue needed, and warm.
//!
//! | word | values | who moves it, and how |
//! |---|---|---|
//! | a record's state | free -> `held(p)`, and what README.md has of it | the process that claims it: a swap; its holder: a store |
//! | a record's place | the position that its message goes to, and 1; 0 for none | its holder: a store, before the slot is swapped |
//! | a record's `len`, `reserved` | bytes of the message, bytes that have memory | its holder: a store |
//! | a pool's `high` | how many records have memory | the process that puts memory behind more: a maximum |
//! | a pool's `free`, the header's `unattended` | hints: where to look first; that there may be something to collect | anyone |
//!
//! | access | ordering | reason |
//! |---|---|---|
//! | claim of a free block | `Acquire` | what the former holder did with the bytes is over |
//! | a block becomes free | `Release` | the same, from the other side |
//! | store of a place | `Release` | the block's bytes and length are written before a slot can name it |
//! | `len`, `reserved` | `Relaxed` | they pass on with the record: a holder, by a swap or a slot, has acquired them. A look without that is checked against the block's size |
//! | `high` | `AcqRel`, read `Acquire` | the records have memory before the number says so. |
//! | a look whether a block may be free | `Relaxed` | a hint: the claim itself is a swap |
//! | `free` | `Relaxed` | a hint |
//! | `unattended` | `Relaxed`; cleared by a swap, `AcqRel` | a hint; the swap lets one of several begin to collect, after what the hint spoke of |
//!
//! # Safety
//! Only the holder of a block writes and reads its bytes. Another process that does not keep to that can change
//! them; they are plain bytes, and are copied before they are interpreted.
#![allow(unsafe_code)]

use std::{
    io,
    ptr::NonNull,
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use kernel::sys::page;

use super::{
    barrier,
    custody::Custody,
    layout::{CLASSES, HAS_HANDLES, LARGE, RECORDS_STEP, Record},
    raw::Raw,
    ring::{Ring, Spot, Stop},
    segment::BlockMemory,
    word::{BlockId, BlockState, Holder},
};

/// Beyond that, a block's memory is given back as soon as it is free.
const KEPT_BYTES: u64 = 32 << 20;
/// Messages beyond that are checked against the file's memory before anything is allocated for them.
const SUSPICIOUS_BYTES: usize = 1 << 20;

/// Memory that is kept for the next message to be decoded, at most: 4 MiB, and what the codec says of them.
const MAX_SPARE: usize = (4 << 20) + 4096;

/// Through how many blocks of a class its users rotate, so that one user does not wait for the very cache lines that
/// another has just let go of. Large ones are few, as their memory is worth more.
const ROTATION: [u32; CLASSES] = [64, 64, 8, 4];
/// Larger messages fit into no cache, and have nothing to gain by rotation.
const CACHED_BYTES: usize = 4 << 20;
/// Classes below that have their memory by the dozen.
const FIRST_BY_ITSELF: u8 = 2;
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
        let me = raw.me()?;
        let mut classes = raw.segment.geometry.classes_for(len).peekable();
        if classes.peek().is_none() {
            return Err(Stop::System(io::ErrorKind::FileTooLarge));
        }
        let id =
            classes.find_map(|class| raw.find_free(class, len, me).transpose()).unwrap_or(Err(Stop::WouldBlock))?;
        let record = raw.segment.record(id);
        record.len.store(len as u64, Relaxed);
        let block = Self { raw, id, len, generation: barrier::forks() };
        if id.class >= FIRST_BY_ITSELF && record.reserved.load(Relaxed) < len as u64 {
            let bytes = len.next_multiple_of(page::size());
            raw.segment.reserve_block(id, bytes).inspect_err(|_| raw.release_memory(id))?;
            record.reserved.store(bytes as u64, Relaxed);
        }
        Ok(block)
    }

    /// Takes the message at `spot`, which lies in a block; `None` if another getter has taken it.
    pub(crate) fn take_from_ring(raw: &'a Raw, spot: &Spot, payload: u64) -> Result<Option<Self>, Stop> {
        let me = raw.me()?;
        raw.reach(BlockId::from_bits(payload))?;
        let Some(id) = Custody::take_from_ring(raw, spot, payload, me) else { return Ok(None) };
        let record = raw.segment.record(id);
        if record.state.first.load(Relaxed) != BlockState::Held(me).to_word() {
            return Err(raw.quarantine());
        }
        let len = raw.len_of(id)?;
        Ok(Some(Self { raw, id, len, generation: barrier::forks() }))
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
        if self.is_ours() {
            self.raw.segment.record(self.id).len.store(self.len as u64, Relaxed);
        }
    }

    /// Says that the message is about to be at that position of the ring.
    pub(crate) fn aim(&self, position: u64) {
        self.raw.segment.record(self.id).state.second.store(position.wrapping_add(1), Release);
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

    /// Whether it is this process's: a forked child holds copies of its parent's values, not the parent's blocks.
    pub(crate) fn is_ours(&self) -> bool {
        self.generation == barrier::forks()
    }

    /// Gives it back.
    pub(crate) fn free(&mut self) {
        if self.is_ours() {
            self.raw.free_block(self.id);
            self.generation = u32::MAX;
        }
    }

    /// The block belongs to a message in the ring now.
    pub(crate) fn given_away(&mut self) {
        self.generation = u32::MAX;
    }
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        self.free();
    }
}

impl Raw {
    /// How long the message in a block is, if it can be. A long one must have its memory already.
    pub(crate) fn len_of(&self, id: BlockId) -> Result<usize, Stop> {
        self.plausible_len_of(id).ok_or_else(|| self.quarantine())
    }

    /// The same of a block that may have another holder by now; `None` if it cannot be so long.
    pub(super) fn plausible_len_of(&self, id: BlockId) -> Option<usize> {
        let len = usize::try_from(self.segment.record(id).len.load(Relaxed) & !HAS_HANDLES).ok()?;
        let is_plausible = len <= self.segment.geometry.classes[usize::from(id.class)].block_bytes
            && (len <= SUSPICIOUS_BYTES || self.segment.may_hold(len as u64));
        is_plausible.then_some(len)
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
    pub(crate) fn find_free(&self, class: u8, len: usize, me: Holder) -> Result<Option<BlockId>, Stop> {
        let rotation = if len <= CACHED_BYTES { ROTATION[usize::from(class)] } else { 1 };
        let held = BlockState::Held(me).to_word();
        let shape = &self.segment.geometry.classes[usize::from(class)];
        let pool = &self.segment.header().pools[usize::from(class)];
        let (mut collected, mut swept) = (false, false);
        loop {
            let high = self.n_records(class)?;
            self.segment.reach_records(class, high)?;
            let next = pool.free.load(Relaxed).min(high);
            let word = |index| &self.segment.record(BlockId { class, index }).state.first;
            let is_free = |index| word(index).load(Relaxed) == 0;
            let order = if class == LARGE {
                // Beyond the rotation the lowest, however long the search: memory that is in use already is worth it.
                let (turn, end) = ((next % rotation).min(high), rotation.min(high));
                [turn..end, 0..turn, end..high]
            } else {
                let over = next.is_multiple_of(rotation);
                let first = if over && (0..LOWEST.min(high)).any(is_free) { 0 } else { next };
                [first..high, 0..first, 0..0]
            };
            let free = order
                .into_iter()
                .flatten()
                .find(|index| is_free(*index) && word(*index).compare_exchange(0, held, Acquire, Relaxed).is_ok());
            if let Some(index) = free {
                pool.free.store(index + 1, Relaxed);
                return Ok(Some(BlockId { class, index }));
            }
            if !collected && self.segment.header().unattended.swap(0, AcqRel) != 0 {
                self.collect_unattended(me);
                collected = true;
            } else if !swept && high > 0 {
                // Blocks that the dead held come first: no other process may ever look for them. A step has many blocks.
                self.sweep_the_dead();
                swept = true;
            } else if high < shape.count {
                self.provide_blocks(class, high)?;
            } else {
                return Ok(None);
            }
        }
    }

    /// How many records of a class there are.
    fn n_records(&self, class: u8) -> Result<u32, Stop> {
        let high = self.segment.header().pools[usize::from(class)].high.load(Acquire);
        let high = high.min(self.segment.geometry.classes[usize::from(class)].count);
        let bytes = u64::from(high) * size_of::<Record>() as u64;
        if self.segment.may_have(bytes) { Ok(high) } else { Err(self.quarantine()) }
    }

    /// Puts memory behind some more records of a class, and behind their blocks if they are short.
    #[cold]
    fn provide_blocks(&self, class: u8, first: u32) -> Result<(), Stop> {
        let shape = &self.segment.geometry.classes[usize::from(class)];
        // The more there are, the longer the search that finds none free; so more are added at a time, at the same cost each.
        let step = (first / 8).next_multiple_of(RECORDS_STEP).max(RECORDS_STEP);
        let border = if first < shape.near { shape.near } else { shape.count };
        let end = (first + step).min(border);
        let bytes = (end - first).next_multiple_of(RECORDS_STEP) as usize * size_of::<Record>();
        self.segment.reserve_control(shape.record_at(first), bytes)?;
        if class < FIRST_BY_ITSELF {
            let bytes = (end - first) as usize * shape.block_bytes;
            self.segment.reserve_block(BlockId { class, index: first }, bytes)?;
        }
        self.segment.header().pools[usize::from(class)].high.fetch_max(end, AcqRel);
        Ok(())
    }

    /// Gives back a block that this process holds.
    pub(crate) fn free_block(&self, id: BlockId) {
        let record = self.segment.record(id);
        if record.reserved.load(Relaxed) > KEPT_BYTES {
            self.release_memory(id);
        }
        // A free block has no place: its next holder must not be found at the former one.
        record.state.second.store(0, Relaxed);
        record.state.first.store(BlockState::Free.to_word(), Release);
    }

    /// Gives back the memory of a block that this process holds; short ones share their pages and keep them.
    pub(crate) fn release_memory(&self, id: BlockId) {
        if id.class < FIRST_BY_ITSELF {
            return;
        }
        // Noted first: killed in between, the next user reserves once more.
        self.segment.record(id).reserved.store(0, Relaxed);
        // Without success the memory is kept, which harms nothing.
        let _ = self.segment.release_block(id);
    }

    /// Every block that may be in use; an error if the records of some cannot be read here.
    pub(crate) fn blocks(&self) -> Result<impl Iterator<Item = BlockId> + use<>, Stop> {
        let mut highs = [0; CLASSES];
        for (class, high) in (0..).zip(&mut highs) {
            *high = self.n_records(class)?;
            self.segment.reach_records(class, *high)?;
        }
        Ok((0..).zip(highs).flat_map(|(class, high)| (0..high).map(move |index| BlockId { class, index })))
    }

    /// Gives back the memory of all free blocks: an idle process does this.
    pub(crate) fn trim(&self) {
        drop(self.spare.try_lock().map(|mut spare| std::mem::take(&mut *spare)));
        let Ok(me) = self.me() else { return };
        let held = BlockState::Held(me).to_word();
        let Ok(blocks) = self.blocks() else { return };
        for id in blocks.filter(|id| id.class >= FIRST_BY_ITSELF) {
            let record = self.segment.record(id);
            let word = &record.state.first;
            if record.reserved.load(Relaxed) != 0
                && word.load(Relaxed) == 0
                && word.compare_exchange(0, held, Acquire, Relaxed).is_ok()
            {
                self.release_memory(id);
                word.store(BlockState::Free.to_word(), Release);
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
