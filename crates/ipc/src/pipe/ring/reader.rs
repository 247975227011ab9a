//! The end of a ring that reads.
//!
//! # Safety
//! Bytes are copied from where `FrameRing::payload` vouches for as many.
#![allow(unsafe_code)]

use std::{
    mem::MaybeUninit,
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use super::{
    FrameRing,
    frame::{CAPACITY, Damaged, FrameKind, decompose, frame_bytes, plausible},
};

/// Bytes of a frame that are copied out without touching the heap.
pub(in crate::pipe) const SMALL: usize = 256;

/// Where a small frame's payload is copied to.
pub(in crate::pipe) struct Small {
    words: [MaybeUninit<u64>; SMALL / 8],
    len: usize,
}

impl Small {
    #[inline(always)]
    pub(in crate::pipe) fn new() -> Self {
        Self { words: [const { MaybeUninit::uninit() }; SMALL / 8], len: 0 }
    }

    #[inline(always)]
    pub(in crate::pipe) fn bytes(&self) -> &[u8] {
        // SAFETY: the words up to `len` bytes have been written by `Reader::copy_small`.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.len) }
    }
}

/// The reader's end of a ring; what it knows between two frames.
#[derive(Debug, Default)]
pub(in crate::pipe) struct Reader {
    head: u64,
}

impl Reader {
    /// Reads the current state, after another process has used this end.
    pub(in crate::pipe) fn reload(ring: &FrameRing) -> Result<Self, Damaged> {
        Ok(Self { head: plausible(ring.header().reader.0.head.load(Acquire))? })
    }

    /// The next frame, if it has been published.
    #[inline(always)]
    pub(in crate::pipe) fn peek(&mut self, ring: &FrameRing) -> Result<Option<(FrameKind, usize)>, Damaged> {
        loop {
            let word = ring.word(self.head).load(Acquire);
            if word == 0 {
                return Ok(None);
            }
            let (kind, len) = decompose(word, self.head).ok_or(Damaged)?;
            if kind != FrameKind::Skip {
                return Ok(Some((kind, len)));
            }
            // A skip always reaches the ring's end, so there are never two in a row.
            if frame_bytes(len) != CAPACITY - (self.head & (CAPACITY - 1)) {
                return Err(Damaged);
            }
            self.advance(ring, len);
        }
    }

    /// Copies out the payload of the frame that [`peek`](Self::peek) showed, which must be small.
    #[inline(always)]
    pub(in crate::pipe) fn copy_small(&self, ring: &FrameRing, len: usize, small: &mut Small) {
        assert!(len <= SMALL);
        let n_words = len.div_ceil(8);
        let from = ring.payload(self.head, n_words * 8).cast::<AtomicU64>();
        for i in 0..n_words {
            // SAFETY: one of the frame's words, inside the ring.
            let from = unsafe { from.add(i) };
            // SAFETY: inside the ring and aligned, as frames are.
            small.words[i].write(unsafe { from.as_ref() }.load(Relaxed));
        }
        small.len = len;
    }

    /// Appends bytes `at..len` of the payload of the frame that [`peek`](Self::peek) showed.
    pub(in crate::pipe) fn append_to(&self, ring: &FrameRing, at: usize, len: usize, out: &mut Vec<u8>) {
        let from = ring.payload(self.head, len);
        let n = len - at;
        out.reserve(n);
        let room = out.spare_capacity_mut();
        // SAFETY: the frame's bytes, inside the ring.
        let from = unsafe { from.add(at) };
        // SAFETY: `n` bytes of the frame, and as many of spare capacity; they cannot overlap.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), room.as_mut_ptr().cast(), n) };
        // SAFETY: those bytes are initialised now.
        unsafe { out.set_len(out.len() + n) };
    }

    /// Frees the frame that [`peek`](Self::peek) showed.
    #[inline(always)]
    pub(in crate::pipe) fn advance(&mut self, ring: &FrameRing, len: usize) {
        self.head += frame_bytes(len);
        ring.header().reader.0.head.store(self.head, Release);
    }

    /// How far this reader is.
    pub(in crate::pipe) fn position(&self) -> u64 {
        self.head
    }
}
