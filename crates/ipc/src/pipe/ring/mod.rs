//! One direction of a pipe: a ring of frames with one writer and one reader.
//!
//! A writer prepares a frame where its word still reads 0, zeroes the word after it, and publishes by storing the word.
//! A reader copies a published frame out and then moves `head`. So a process killed at any instruction leaves a frame
//! that is there or is not; the next user of the same end finds `tail` by walking over what is published.
//!
//! # Safety
//! Offsets are positions masked by the ring's length, frame lengths are checked against it before use, and every byte is
//! copied out before it is looked at. The other process may change any of it at any time, which can spoil messages but
//! never addresses.
#![allow(unsafe_code)]

mod frame;
mod reader;
mod sink;
mod writer;

use std::{
    io,
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use kernel::shm::SharedMemory;

use self::frame::{CAPACITY, WORD};
use super::{
    layout::{ABI, DATA_OFFSET, MAGIC, RING_BYTES, RingHeader, header},
    users::Users,
};

pub(super) use self::{
    frame::{Damaged, FrameKind, MAX_PAYLOAD},
    reader::{Reader, SMALL, Small},
    writer::Writer,
};

/// A ring as mapped in this process.
#[derive(Clone, Debug)]
pub(super) struct FrameRing {
    /// Keeps the pointers below valid.
    users: Arc<Users>,
    header: NonNull<RingHeader>,
    data: NonNull<u8>,
}

// SAFETY: pointers into shared memory that `users` keeps mapped; what they reach is atomics and raw bytes.
unsafe impl Send for FrameRing {}
// SAFETY: as above.
unsafe impl Sync for FrameRing {}

/// Fresh memory for `n` rings.
pub(super) fn create(n: u32) -> io::Result<SharedMemory> {
    let memory = SharedMemory::new(DATA_OFFSET + n as usize * RING_BYTES as usize)?;
    let header = header(&memory);
    for ring in &header.rings {
        // No reader has looked yet, so the first frame rings the bell: the descriptor is pollable from the start.
        ring.to_writer.0.reader_sleeps.store(1, Relaxed);
    }
    header.abi.store(ABI, Relaxed);
    header.ring_bytes.store(RING_BYTES, Relaxed);
    header.n_rings.store(n, Relaxed);
    header.magic.store(MAGIC, Release);
    Ok(memory)
}

/// The rings in memory that came from elsewhere: two of a duplex pipe, one of a simplex one.
pub(super) fn attach(memory: &SharedMemory) -> io::Result<Vec<FrameRing>> {
    let refuse = |why| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    if memory.len() < DATA_OFFSET {
        return refuse("shared memory is too short for a pipe");
    }
    let header = header(memory);
    if header.magic.load(Acquire) != MAGIC || header.abi.load(Relaxed) != ABI {
        return refuse("shared memory holds no pipe of this version");
    }
    let n = header.n_rings.load(Relaxed);
    if header.ring_bytes.load(Relaxed) != RING_BYTES
        || !(1..=2).contains(&n)
        || memory.len() < DATA_OFFSET + n as usize * RING_BYTES as usize
    {
        return refuse("shared memory holds a pipe of another shape");
    }
    let users = Arc::new(Users::new(memory.clone())?);
    let ring = |i: usize| {
        // SAFETY: the memory is long enough for `n` rings, by the check above.
        let data = unsafe { memory.as_ptr().add(DATA_OFFSET + i * RING_BYTES as usize) };
        FrameRing { users: Arc::clone(&users), header: NonNull::from(&header.rings[i]), data }
    };
    Ok((0..n as usize).map(ring).collect())
}

impl FrameRing {
    #[inline(always)]
    pub(super) fn header(&self) -> &RingHeader {
        // SAFETY: points into memory that `users` keeps mapped.
        unsafe { self.header.as_ref() }
    }

    pub(super) fn users(&self) -> &Users {
        &self.users
    }

    /// Which user sleeps on the socket of the end that reads this ring, or of an end that only writes it.
    pub(super) fn listener(&self, reads: bool) -> &AtomicU64 {
        if reads { &self.header().reader.0.listener } else { &self.header().writer.0.listener }
    }

    /// The frame word at `position`.
    #[inline(always)]
    fn word(&self, position: u64) -> &AtomicU64 {
        let offset = position & (CAPACITY - 1) & !(WORD - 1);
        // SAFETY: the offset is inside the ring.
        let word = unsafe { self.data.add(offset as usize) };
        // SAFETY: aligned to 8 because `data` is aligned to a page; at least 8 bytes are left before the ring's end.
        unsafe { word.cast::<AtomicU64>().as_ref() }
    }

    /// Whether a frame has been published at `position`.
    #[inline]
    pub(super) fn has_frame(&self, position: u64) -> bool {
        self.word(position).load(Acquire) != 0
    }

    /// The `len` bytes after the frame word at `position`, which must lie before the ring's end.
    #[inline(always)]
    fn payload(&self, position: u64, len: usize) -> NonNull<u8> {
        let offset = position & (CAPACITY - 1) & !(WORD - 1);
        assert!(offset + WORD + len as u64 <= CAPACITY);
        // SAFETY: inside the ring, by the assertion.
        unsafe { self.data.add((offset + WORD) as usize) }
    }
}
