//! What the two ends of a pipe map: one header, then one ring's bytes after the other.
//!
//! | word | written by | meaning |
//! |---|---|---|
//! | `tail` | the writer | where the next frame goes, as of its last publication |
//! | `head` | the reader | up to where frames have been taken |
//! | `n_with_fds` | the writer | how many messages with descriptors there were: their ids |
//! | `turn` | see `claim.rs` | which user has this half of the end |
//! | `listener` | the user that sleeps on the end's socket | that user, or 0 |
//! | `begun` | the reader | the user that has taken a part of a message, or 0 |
//! | `n_sleeps` | the reader | how many sleeps there were: their numbers |
//! | `reader_sleeps` | the reader; cleared by the writer after ringing | 0, or the number of this sleep |
//! | `writer_sleeps` | the writer; cleared by the reader after ringing | 0, or the `head` at which there is room enough |
//! | `reader_left` | handles of the reader's end that are dropped | how many were |
//!
//! Users are participants of the `register`: an end in a process.
//!
//! | access | ordering | reason |
//! |---|---|---|
//! | store of a frame's first word | `Release`, loaded `Acquire` | a reader that sees the frame sees its bytes, and the 0 in the word after it |
//! | that 0; the bytes of a payload | `Relaxed` | published by the store above |
//! | store of `head` | `Release`, loaded `Acquire` | the bytes have been copied before the writer may overwrite them |
//! | store of `tail` | `Relaxed` | for the next user of the end, who has acquired its turn; it walks on over frames that are published |
//! | `n_with_fds`, `n_sleeps` | `Relaxed` | only that no two numbers are the same; the half's turn orders the rest |
//! | `begun` | `Release`, loaded `Acquire`; cleared `Relaxed` | a reader that sees a user there leaves the message to it; what clearing it means is ordered by the turn |
//! | `reader_sleeps`, `writer_sleeps` | `Relaxed`, cleared by a swap, `AcqRel` | between the store and the sleeper's last look, and between a publication and the look at these, stand the two sides of an asymmetric fence (`../barrier.rs`). The swap comes after the bell |
//! | `reader_left` | `Release`, loaded `Acquire` | a writer that sees the count asks the kernel after the descriptor was closed |
//! | `listener` | `Acquire` to take, `Release` to leave | what one listener took in is done with before the next listens |
//! | `magic` | `Release`, loaded `Acquire`; the other constants `Relaxed` | a process that finds the magic number finds the rest |
//!
//! Positions count bytes since the pipe was made; their place in the ring is the position modulo its length. A frame
//! begins with a word of its own, which is what publishes it:
//!
//! | bits | of a frame's first word |
//! |---|---|
//! | 0–31 | bytes of payload that follow (and up to 7 of padding) |
//! | 32–39 | [`FrameKind`]; never 0, so that 0 is "not published yet" |
//! | 40–63 | the position / 8, so that a stale or forged word is found out |
//!
//! # Safety
//! Everything in the header is an atomic and valid for any bits.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, AtomicU64};

use kernel::{
    liveness::RegisterWords,
    shm::{SharedMemory, ShmSafe},
};

use super::turn::TurnWords;

pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"ipcPipe1");
pub(super) const ABI: u32 = 4;

/// Where the first ring's bytes begin. The memory is mapped as a whole, so pages of any length will do.
pub(super) const DATA_OFFSET: usize = 4096;

/// Bytes in one ring: a power of two.
pub(super) const RING_BYTES: u32 = 64 * 1024;

/// Two cache lines, because the processor fetches neighbours along.
#[repr(C, align(128))]
pub(super) struct Apart<T>(pub(super) T);

#[repr(C)]
pub(super) struct PipeHeader {
    pub(super) magic: AtomicU64,
    pub(super) abi: AtomicU32,
    pub(super) ring_bytes: AtomicU32,
    pub(super) n_rings: AtomicU32,
    pub(super) register: RegisterWords,
    pub(super) rings: [RingHeader; 2],
}

#[repr(C)]
pub(super) struct RingHeader {
    pub(super) writer: Apart<WriterWords>,
    pub(super) reader: Apart<ReaderWords>,
    pub(super) to_writer: Apart<ToWriter>,
    pub(super) to_reader: Apart<ToReader>,
}

#[repr(C)]
pub(super) struct WriterWords {
    pub(super) tail: AtomicU64,
    pub(super) turn: TurnWords,
    pub(super) n_with_fds: AtomicU64,
    /// Of an end that only sends.
    pub(super) listener: AtomicU64,
}

#[repr(C)]
pub(super) struct ReaderWords {
    pub(super) head: AtomicU64,
    pub(super) turn: TurnWords,
    pub(super) begun: AtomicU64,
    pub(super) n_sleeps: AtomicU32,
    /// Of an end that receives.
    pub(super) listener: AtomicU64,
}

#[repr(C)]
pub(super) struct ToWriter {
    pub(super) reader_sleeps: AtomicU32,
    pub(super) reader_left: AtomicU32,
}

#[repr(C)]
pub(super) struct ToReader {
    pub(super) writer_sleeps: AtomicU64,
}

const _: () = {
    assert!(size_of::<RingHeader>() == 512);
    assert!(size_of::<PipeHeader>() == 128 + 2 * 512);
    assert!(size_of::<PipeHeader>() <= DATA_OFFSET);
    assert!(RING_BYTES.is_power_of_two());
};

// SAFETY: `repr(C)`, atomics only, no pointers, no `Drop`.
unsafe impl ShmSafe for PipeHeader {}

/// The header of a pipe's memory.
pub(super) fn header(memory: &SharedMemory) -> &PipeHeader {
    assert!(memory.len() >= DATA_OFFSET);
    // SAFETY: long enough, page-aligned, and valid for any bits.
    unsafe { memory.as_ptr().cast::<PipeHeader>().as_ref() }
}
