//! The end of a ring that writes.
//!
//! # Safety
//! Bytes are written where `FrameRing::payload` vouches for as many.
#![allow(unsafe_code)]

use std::{
    ptr::NonNull,
    sync::atomic::Ordering::{Acquire, Relaxed, Release},
};

use super::{
    FrameRing,
    frame::{CAPACITY, Damaged, FrameKind, MAX_PAYLOAD, WORD, compose, decompose, frame_bytes, plausible},
    sink::Sink,
};

/// With fewer bytes than this free, it is worth asking how far the reader is.
const FEW: u64 = 1024;

/// The writer's end of a ring; what it knows between two frames.
#[derive(Debug, Default)]
pub(in crate::pipe) struct Writer {
    tail: u64,
    /// The last known `head`; the real one may be further.
    head: u64,
}

impl Writer {
    /// Reads the current state, after another process has used this end.
    pub(in crate::pipe) fn reload(ring: &FrameRing) -> Result<Self, Damaged> {
        let words = &ring.header().writer.0;
        let mut tail = plausible(words.tail.load(Acquire))?;
        let head = plausible(ring.header().reader.0.head.load(Acquire))?;
        // The former user may have been killed between publishing a frame and storing the tail. The reader may have
        // read that frame already.
        if head > tail && head - tail <= CAPACITY {
            tail = head;
        }
        if head > tail || tail - head > CAPACITY {
            return Err(Damaged);
        }
        loop {
            let word = ring.word(tail).load(Acquire);
            if word == 0 {
                break;
            }
            let (_, len) = decompose(word, tail).ok_or(Damaged)?;
            tail += frame_bytes(len);
            if tail - head > CAPACITY {
                return Err(Damaged);
            }
        }
        words.tail.store(tail, Relaxed);
        Ok(Self { tail, head })
    }

    /// How far the reader is, as seen with this `tail`.
    fn head(ring: &FrameRing, tail: u64) -> Result<u64, Damaged> {
        let head = ring.header().reader.0.head.load(Acquire);
        let is_fine = head.is_multiple_of(WORD) && head <= tail && tail - head <= CAPACITY;
        if is_fine { Ok(head) } else { Err(Damaged) }
    }

    fn refresh(&mut self, ring: &FrameRing) -> Result<(), Damaged> {
        self.head = Self::head(ring, self.tail)?;
        Ok(())
    }

    /// Bytes free, as far as known. The word after a frame must be free too.
    #[inline(always)]
    fn free(&self) -> u64 {
        CAPACITY - (self.tail - self.head)
    }

    /// Room for a frame with `payload` bytes in one piece, made by skipping the ring's end if need be; false if the
    /// reader must move on first.
    #[inline]
    pub(in crate::pipe) fn make_room(&mut self, ring: &FrameRing, payload: usize) -> Result<bool, Damaged> {
        let before_end = CAPACITY - (self.tail & (CAPACITY - 1));
        let frame = frame_bytes(payload);
        let need = if frame <= before_end { frame } else { before_end + frame } + WORD;
        if need > self.free() {
            self.refresh(ring)?;
            if need > self.free() {
                return Ok(false);
            }
        }
        if frame > before_end {
            self.publish(ring, FrameKind::Skip, (before_end - WORD) as usize);
        }
        Ok(true)
    }

    /// Whether `len` bytes find room now, cut into frames as large as can be.
    pub(in crate::pipe) fn has_room_for_all(&mut self, ring: &FrameRing, len: usize) -> Result<bool, Damaged> {
        self.refresh(ring)?;
        let frames = (len.div_ceil(MAX_PAYLOAD) as u64).saturating_mul(frame_bytes(MAX_PAYLOAD));
        // One frame's length may be lost to a skip at the ring's end.
        Ok(frames.saturating_add(frame_bytes(MAX_PAYLOAD) + WORD) <= self.free())
    }

    /// Up to which `head` the reader must go before [`make_room`](Self::make_room) is worth another try: half the ring,
    /// so that the two do not take turns for each frame.
    pub(in crate::pipe) fn wanted_head(&self, payload: usize) -> u64 {
        let before_end = CAPACITY - (self.tail & (CAPACITY - 1));
        let need = (frame_bytes(payload) + before_end.min(frame_bytes(payload)) + WORD).max(CAPACITY / 2);
        (self.tail + need).saturating_sub(CAPACITY).max(1)
    }

    /// A place to serialise into, directly behind the next frame's word; nothing is published yet. `None` if there is no
    /// room for a frame, not even for one without a byte.
    #[inline(always)]
    pub(in crate::pipe) fn sink<'a>(&mut self, ring: &'a FrameRing) -> Result<Option<Sink<'a>>, Damaged> {
        if self.free() < FEW {
            self.refresh(ring)?;
            if self.free() < frame_bytes(0) + WORD {
                return Ok(None);
            }
        }
        let before_end = CAPACITY - (self.tail & (CAPACITY - 1));
        let room = before_end.min(self.free().saturating_sub(WORD)).saturating_sub(WORD);
        let room = (room as usize).min(MAX_PAYLOAD);
        Ok(Some(Sink::new(ring, self.tail, room)))
    }

    /// Up to where this writer has published.
    #[inline(always)]
    pub(in crate::pipe) fn position(&self) -> u64 {
        self.tail
    }

    /// Copies `bytes` behind the next frame's word. There must be room.
    pub(in crate::pipe) fn write(&mut self, ring: &FrameRing, at: usize, bytes: &[u8]) {
        let place = ring.payload(self.tail, at + bytes.len());
        // SAFETY: inside the ring: `payload` vouches for `at + bytes.len()` bytes.
        let place = unsafe { place.add(at) };
        // SAFETY: the source is ordinary memory, the target inside the ring; they cannot overlap.
        unsafe { place.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
    }

    /// Publishes a frame whose `len` bytes of payload are in place.
    #[inline(always)]
    pub(in crate::pipe) fn publish(&mut self, ring: &FrameRing, kind: FrameKind, len: usize) {
        let next = self.tail + frame_bytes(len);
        ring.word(next).store(0, Relaxed);
        ring.word(self.tail).store(compose(kind, len, self.tail), Release);
        self.tail = next;
        ring.header().writer.0.tail.store(next, Relaxed);
    }
}
