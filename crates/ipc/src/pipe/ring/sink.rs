//! Where a value is serialised straight into a ring.
//!
//! # Safety
//! A sink is made over so many bytes of the ring, behind the word of the next frame, and writes no further.
#![allow(unsafe_code)]

use std::{marker::PhantomData, ptr::NonNull};

use wire::Full;

use super::FrameRing;

/// Where a message is serialised without a stop in between.
pub(in crate::pipe) struct Sink<'a> {
    start: NonNull<u8>,
    len: usize,
    room: usize,
    ring: PhantomData<&'a FrameRing>,
}

impl<'a> Sink<'a> {
    /// Over the next frame of `ring`, which has `room` bytes from `position` on.
    #[inline(always)]
    pub(super) fn new(ring: &'a FrameRing, position: u64, room: usize) -> Self {
        Self { start: ring.payload(position, room), len: 0, room, ring: PhantomData }
    }
}

impl wire::Sink for Sink<'_> {
    #[inline(always)]
    fn push(&mut self, byte: u8) -> Result<(), Full> {
        if self.len == self.room {
            return Err(Full);
        }
        // SAFETY: less than `room` bytes on.
        let place = unsafe { self.start.add(self.len) };
        // SAFETY: inside the ring.
        unsafe { place.write(byte) };
        self.len += 1;
        Ok(())
    }

    #[inline(always)]
    fn extend(&mut self, bytes: &[u8]) -> Result<(), Full> {
        if bytes.len() > self.room - self.len {
            return Err(Full);
        }
        // SAFETY: at most `room` bytes on.
        let place = unsafe { self.start.add(self.len) };
        // SAFETY: `bytes.len()` bytes from `place` on are inside the ring.
        unsafe { copy_in(bytes, place.as_ptr()) };
        self.len += bytes.len();
        Ok(())
    }

    #[inline(always)]
    fn tagged<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) -> Result<(), Full> {
        if N >= self.room - self.len {
            return Err(Full);
        }
        // SAFETY: less than `room` bytes on.
        let place = unsafe { self.start.add(self.len) };
        // SAFETY: inside the ring.
        unsafe { place.write(tag) };
        // SAFETY: `N` more bytes are inside the ring.
        let place = unsafe { place.add(1) };
        // SAFETY: as above; arrays of bytes need no alignment.
        unsafe { place.cast::<[u8; N]>().write(bytes) };
        self.len += 1 + N;
        Ok(())
    }

    #[inline(always)]
    fn position(&self) -> usize {
        self.len
    }
}

/// Copies `bytes` to `place`, without a call for the few bytes that most fields of a message are.
///
/// # Safety
/// `place` must be valid for as many bytes, and not overlap them.
#[inline]
unsafe fn copy_in(bytes: &[u8], place: *mut u8) {
    /// The first and the last `N` bytes, which may overlap each other.
    #[inline]
    unsafe fn ends<const N: usize>(bytes: &[u8], place: *mut u8) {
        let (first, last) = (bytes.first_chunk::<N>(), bytes.last_chunk::<N>());
        if let (Some(first), Some(last)) = (first, last) {
            // SAFETY: at least `N` bytes long, so this stays inside.
            let place_of_last = unsafe { place.add(bytes.len() - N) };
            // SAFETY: the caller vouches for the place; arrays of bytes need no alignment.
            unsafe { place.cast::<[u8; N]>().write(*first) };
            // SAFETY: as above.
            unsafe { place_of_last.cast::<[u8; N]>().write(*last) };
        }
    }
    match bytes.len() {
        0 => {}
        // SAFETY: the caller's promise.
        1 => unsafe { place.write(bytes[0]) },
        // SAFETY: the caller's promise.
        2..=3 => unsafe { ends::<2>(bytes, place) },
        // SAFETY: the caller's promise.
        4..=7 => unsafe { ends::<4>(bytes, place) },
        // SAFETY: the caller's promise.
        8..=16 => unsafe { ends::<8>(bytes, place) },
        // SAFETY: the caller's promise.
        n => unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, n) },
    }
}
