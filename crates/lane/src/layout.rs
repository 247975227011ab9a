//! What owner and worker both map.
//!
//! # Safety
//! Made of atomic integers only, without padding: any bytes are valid, and zeros are a fresh lane.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::AsFd,
    ptr::NonNull,
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use kernel::shm::{SharedMemory, ShmSafe};
use nix::fcntl::{FallocateFlags, fallocate};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::machine::{Bell, Sleep, SlotWord};

/// Slots of a lane: how many tasks it holds, finished ones included, until the owner has taken their results.
pub const N_SLOTS: usize = 128;
/// Payload words of a slot.
pub(super) const SLOT_WORDS: usize = 28;
/// Stream buffers of a lane.
pub(super) const N_BUFFERS: usize = 8;
/// The number of no stream buffer.
pub(super) const NO_BUFFER: u32 = u32::MAX;
/// Payload words of a stream buffer.
pub(super) const BUFFER_WORDS: usize = 8 * 1024 - 8;

pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"ipcLane1");

pub(super) fn form(is_spilled: bool, n_fds: usize) -> u32 {
    u32::from(is_spilled) | (n_fds as u32) << 1
}

pub(super) fn is_spilled(form: u32) -> bool {
    form & 1 != 0
}

pub(super) fn n_fds(form: u32) -> usize {
    (form >> 1) as usize
}

/// A task on its way to the worker, and its result on its way back. All but the word is written and read by the side that
/// has the slot, as the word says, and published by the word, so all of that is `Relaxed`.
#[repr(C, align(64))]
pub(super) struct Slot {
    pub(super) word: SlotWord,
    /// Bytes of the payload.
    pub(super) len: AtomicU64,
    /// 1 if the payload lies in the spill file; and how many descriptors go along, times 2.
    pub(super) form: AtomicU32,
    /// The owner's and then the worker's remark on the payload.
    pub(super) tag: AtomicU32,
    /// The stream buffer that goes with the task.
    pub(super) buffer: AtomicU32,
    /// The item to begin with.
    pub(super) from: AtomicU32,
    pub(super) payload: [AtomicU64; SLOT_WORDS],
}

#[repr(C, align(64))]
pub(super) struct Buffer {
    /// Items << 32 | bytes: how much of the buffer is results, from the beginning. Counted up by the worker with `Release`,
    /// after the bytes; set to 0 by the owner before it gives the task.
    pub(super) published: AtomicU64,
    /// How many descriptors go along with what is published.
    pub(super) n_fds: AtomicU64,
    reserved: [AtomicU64; 6],
    pub(super) bytes: [AtomicU64; BUFFER_WORDS],
}

#[repr(C)]
pub(super) struct Layout {
    pub(super) magic: AtomicU64,
    reserved: [AtomicU64; 7],
    /// On a cache line of its own.
    pub(super) sleep: Sleep,
    /// What the worker noted last, whatever that may be: information, which orders nothing.
    pub(super) note: AtomicU64,
    reserved2: [AtomicU64; 6],
    /// On a cache line of its own.
    pub(super) bell: Bell,
    reserved3: [AtomicU32; 15],
    pub(super) slots: [Slot; N_SLOTS],
    pub(super) buffers: [Buffer; N_BUFFERS],
}

const _: () = assert!(size_of::<Slot>() == 256);
const _: () = assert!(size_of::<Buffer>() == 64 * 1024);
const _: () = assert!(size_of::<Layout>() == 192 + N_SLOTS * 256 + N_BUFFERS * 64 * 1024);

// SAFETY: `repr(C)`, made of atomic integers, changed through them alone.
unsafe impl ShmSafe for Layout {}

/// A mapped [`Layout`].
#[derive(Clone, Debug)]
pub(super) struct Memory {
    // Keeps the mapping.
    memory: SharedMemory,
    layout: NonNull<Layout>,
}

// SAFETY: a handle to atomics that every thread may use.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// A fresh lane. The slots are reserved; a stream buffer takes memory when it is used.
    pub(super) fn new() -> io::Result<Self> {
        let memory = SharedMemory::sparse(size_of::<Layout>())?;
        let reserved = std::mem::offset_of!(Layout, buffers) as i64;
        fallocate(memory.as_fd(), FallocateFlags::empty(), 0, reserved)?;
        let this = Self::view(memory);
        // Release, and Acquire where it is read: a process that sees it sees the zeros of a fresh lane.
        this.get().magic.store(MAGIC, Release);
        Ok(this)
    }

    fn view(memory: SharedMemory) -> Self {
        Self { layout: memory.as_ptr().cast(), memory }
    }

    #[cfg(all(test, feature = "inspect"))]
    pub(super) fn memory(&self) -> &SharedMemory {
        &self.memory
    }

    pub(super) fn get(&self) -> &Layout {
        // SAFETY: the block is at least as long as a `Layout`, page-aligned, lives as long as `self`, and `ShmSafe`
        // makes any bytes in it valid.
        unsafe { self.layout.as_ref() }
    }
}

impl Serialize for Memory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.memory.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Memory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let memory = SharedMemory::deserialize(deserializer)?;
        if memory.len() != size_of::<Layout>() {
            return Err(de::Error::custom("shared memory is not as long as a lane"));
        }
        let this = Self::view(memory);
        if this.get().magic.load(Acquire) != MAGIC {
            return Err(de::Error::custom("shared memory holds no lane"));
        }
        Ok(this)
    }
}

/// Copies `bytes` into `words`, which must have room.
pub(super) fn copy_in(words: &[AtomicU64], bytes: &[u8]) {
    for (word, chunk) in words.iter().zip(bytes.chunks(8)) {
        let mut whole = [0; 8];
        whole[..chunk.len()].copy_from_slice(chunk);
        word.store(u64::from_ne_bytes(whole), Relaxed);
    }
}

/// Appends the first `len` bytes of `words` to `bytes`; fewer if there are not so many.
pub(super) fn copy_out(words: &[AtomicU64], len: usize, bytes: &mut Vec<u8>) {
    let len = len.min(words.len() * 8);
    let begin = bytes.len();
    bytes.resize(begin + len.next_multiple_of(8), 0);
    let (copies, _) = bytes[begin..].as_chunks_mut();
    for (copy, word) in copies.iter_mut().zip(words) {
        *copy = word.load(Relaxed).to_ne_bytes();
    }
    bytes.truncate(begin + len);
}
