//! Values to bytes and back, without a heap for small ones.
//!
//! # Safety
//! A `Buffer` counts how many of its bytes have been written, and shows no others.
#![allow(unsafe_code)]

use std::{mem::MaybeUninit, ptr::NonNull};

use kernel::handover;
use proc_core::Panic;
use serde::{Serialize, de::DeserializeOwned};
use wire::{Counter, Full, Sink, Stop, TypeInfo};

use super::layout::CELL_MAX;

/// A message that fits into a cell, on its way out.
pub(crate) struct Buffer {
    bytes: MaybeUninit<[u8; CELL_MAX]>,
    len: usize,
}

impl Buffer {
    #[inline]
    pub(crate) fn new() -> Self {
        // As one constant it would be zeros, copied for each message.
        Self { bytes: MaybeUninit::uninit(), len: std::hint::black_box(0) }
    }

    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        // SAFETY: the first `len` bytes are inside the array, and have been written (`encode`, `fill`).
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr().cast(), self.len) }
    }

    /// Copies `len` bytes out of shared memory.
    ///
    /// # Safety
    /// `from` must be good for reading `len` bytes, rounded up to 64. Other processes may write there meanwhile.
    #[inline]
    pub(crate) unsafe fn fill(&mut self, from: NonNull<u8>, len: usize) {
        assert!(len <= CELL_MAX);
        // SAFETY: `from` is the caller's word; the array is long enough, and is not shared.
        unsafe { copy_lines(from.as_ptr(), self.bytes.as_mut_ptr().cast(), len) };
        self.len = len;
    }

    /// Takes the `len` bytes of a short message.
    #[inline]
    pub(crate) fn fill_short(&mut self, payload: u64, len: usize) {
        assert!(len <= size_of::<u64>());
        // SAFETY: the array is longer than 8 bytes.
        unsafe { self.bytes.as_mut_ptr().cast::<u64>().write_unaligned(payload.to_le()) };
        self.len = len;
    }
}

/// The payload of a short message.
#[inline]
pub(crate) fn short(message: &[u8]) -> u64 {
    let mut bytes = [0; size_of::<u64>()];
    assert!(message.len() <= bytes.len());
    // SAFETY: both are as long.
    unsafe { copy_short(message.as_ptr(), bytes.as_mut_ptr(), message.len()) };
    u64::from_le_bytes(bytes)
}

/// Serialises `value` to at most `limit` bytes; says how many it took.
///
/// # Safety
/// `start` must be good for writing `limit` bytes.
#[inline]
pub(crate) unsafe fn encode_up_to<T: Serialize + DeserializeOwned>(
    value: &T,
    start: NonNull<u8>,
    limit: usize,
) -> Result<usize, NotInline> {
    // SAFETY: the caller's word.
    let mut into = unsafe { Cursor::new(start.as_ptr(), limit) };
    match wire::encode_compact(TypeInfo::of::<T>(), value, &mut into) {
        Ok(()) => Ok(into.position()),
        Err(Stop::Full) => Err(NotInline::TooLong),
        Err(Stop::Indirect) => Err(NotInline::Unplain),
    }
}

const LINE: usize = 64;
const TWO_LINES: usize = 2 * LINE;
const _: () = assert!(CELL_MAX.is_multiple_of(LINE));

/// Copies `len` bytes and what follows up to the next multiple of 64: short messages without a call.
///
/// # Safety
/// As `copy_nonoverlapping` for that many bytes.
#[inline]
unsafe fn copy_lines(from: *const u8, to: *mut u8, len: usize) {
    if len > TWO_LINES {
        // SAFETY: the caller's word.
        unsafe { std::ptr::copy_nonoverlapping(from, to, len) }
    } else if len > LINE {
        // SAFETY: the caller's word, for `len` rounded up.
        unsafe { std::ptr::copy_nonoverlapping(from, to, TWO_LINES) }
    } else if len > 0 {
        // SAFETY: as above.
        unsafe { std::ptr::copy_nonoverlapping(from, to, LINE) }
    }
}

/// `copy_nonoverlapping` without a call for the few bytes of a number.
///
/// # Safety
/// As `copy_nonoverlapping`.
#[inline]
unsafe fn copy_short(from: *const u8, to: *mut u8, len: usize) {
    let both_ends = |part: usize| {
        // SAFETY: the caller's word; `part` is at most `len`.
        unsafe { std::ptr::copy_nonoverlapping(from, to, part) };
        let last = len - part;
        // SAFETY: as above.
        unsafe { std::ptr::copy_nonoverlapping(from.wrapping_add(last), to.wrapping_add(last), part) };
    };
    match len {
        0 => {}
        1 => both_ends(1),
        2..4 => both_ends(2),
        4..8 => both_ends(4),
        8..=16 => both_ends(8),
        // SAFETY: the caller's word.
        _ => unsafe { std::ptr::copy_nonoverlapping(from, to, len) },
    }
}

/// Why a value did not go into a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotInline {
    TooLong,
    /// Its `Serialize` fails outside a hand-over; it may have handles inside.
    Unplain,
}

/// How many bytes `value` takes; `None` if it cannot be serialised straight into shared memory.
pub(crate) fn encoded_len<T: Serialize + DeserializeOwned>(value: &T) -> Option<usize> {
    let mut counter = Counter::default();
    wire::encode_compact(TypeInfo::of::<T>(), value, &mut counter).ok()?;
    Some(counter.position())
}

/// Serialises `value` to exactly the `len` bytes that `encoded_len` returned; false if it takes another number this time.
///
/// # Safety
/// `start` must be good for writing `len` bytes.
pub(crate) unsafe fn encode_at<T: Serialize + DeserializeOwned>(value: &T, start: NonNull<u8>, len: usize) -> bool {
    // SAFETY: the caller's word.
    let mut into = unsafe { Cursor::new(start.as_ptr(), len) };
    wire::encode_compact(TypeInfo::of::<T>(), value, &mut into).is_ok() && into.position() == len
}

/// A number as it is serialised among other things.
#[cold]
pub(crate) fn encode(number: &u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A number can always be serialised.
    let _ = wire::encode(TypeInfo::of::<u64>(), number, &mut bytes);
    bytes
}

/// The value that `bytes` are.
#[inline]
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, handover::Error> {
    Ok(wire::decode(bytes)?)
}

/// Decodes something beside which there are others that must not be lost: a panic of the type's own code is an error.
pub(crate) fn caught<T, E: From<handover::Error>>(decode: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    Panic::catch(decode).unwrap_or_else(|panic| {
        let why = format!("its `Deserialize` panicked: {}", panic.message);
        Err(handover::Error::new(why).into())
    })
}

struct Cursor {
    start: *mut u8,
    len: usize,
    limit: usize,
}

impl Cursor {
    /// # Safety
    /// `limit` bytes from `start` on must be good for writing while the cursor lives.
    unsafe fn new(start: *mut u8, limit: usize) -> Self {
        Self { start, len: 0, limit }
    }
}

impl Sink for Cursor {
    #[inline]
    fn extend(&mut self, data: &[u8]) -> Result<(), Full> {
        if data.len() > self.limit - self.len {
            return Err(Full);
        }
        // SAFETY: `len` is at most `limit`.
        let end = unsafe { self.start.add(self.len) };
        // SAFETY: there is room for `data` up to the limit, by the check above.
        unsafe { copy_short(data.as_ptr(), end, data.len()) };
        self.len += data.len();
        Ok(())
    }

    #[inline]
    fn tagged<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) -> Result<(), Full> {
        if N >= self.limit - self.len {
            return Err(Full);
        }
        // SAFETY: `len` is at most `limit`.
        let end = unsafe { self.start.add(self.len) };
        // SAFETY: there is room for more than `N` bytes, by the check above.
        unsafe { end.write(tag) };
        // SAFETY: as above.
        let end = unsafe { end.add(1) };
        // SAFETY: as above; arrays of bytes need no alignment.
        unsafe { end.cast::<[u8; N]>().write(bytes) };
        self.len += 1 + N;
        Ok(())
    }

    #[inline]
    fn push(&mut self, byte: u8) -> Result<(), Full> {
        if self.len == self.limit {
            return Err(Full);
        }
        // SAFETY: `len` is less than `limit`.
        let end = unsafe { self.start.add(self.len) };
        // SAFETY: as above.
        unsafe { end.write(byte) };
        self.len += 1;
        Ok(())
    }

    #[inline]
    fn position(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode<T: Serialize + DeserializeOwned>(value: &T, limit: usize) -> Result<Vec<u8>, NotInline> {
        // The first value of a type goes elsewhere.
        let _ = wire::encode(TypeInfo::of::<T>(), value, &mut Vec::new());
        let mut bytes = vec![0; limit];
        // SAFETY: as long as the vector is.
        let len = unsafe { encode_up_to(value, NonNull::new(bytes.as_mut_ptr()).unwrap(), limit) }?;
        bytes.truncate(len);
        Ok(bytes)
    }

    #[test]
    fn values_come_back() {
        let value = (7u64, String::from("seven"), vec![Some(1u8), None]);
        let bytes = encode(&value, 100).unwrap();
        assert_eq!(encoded_len(&value), Some(bytes.len()));
        assert_eq!(decode::<(u64, String, Vec<Option<u8>>)>(&bytes).unwrap(), value);
        assert_eq!(encode(&value, 5), Err(NotInline::TooLong));
    }

    #[test]
    fn nothing_is_written_beyond_the_limit() {
        let value =
            ((200u8, 1u16, 2u32, 3u64, 4u128), (-1i8, -2i16, -3i32, -4i64, -5i128), (0.5f32, 0.25f64, 'x', true));
        let len = encode(&value, 200).unwrap().len();
        for limit in 0..=len {
            let mut bytes = vec![0xee; len + 32];
            let start = NonNull::new(bytes.as_mut_ptr()).unwrap();
            // SAFETY: shorter than the vector is.
            let encoded = unsafe { encode_up_to(&value, start, limit) };
            assert_eq!(encoded, if limit == len { Ok(len) } else { Err(NotInline::TooLong) });
            assert!(bytes[limit..].iter().all(|byte| *byte == 0xee), "{limit}");
        }
    }

    #[test]
    fn a_handle_is_not_plain() {
        let fd = handover::Fd::from(std::fs::File::open("/dev/null").unwrap());
        assert_eq!(encode(&fd, 100), Err(NotInline::Unplain));
    }

    #[test]
    fn copies_of_all_lengths_are_exact() {
        let from: Vec<u8> = (0..40).collect();
        for len in 0..40 {
            let mut to = [255; 40];
            // SAFETY: both are longer than `len`.
            unsafe { copy_short(from.as_ptr(), to.as_mut_ptr(), len) };
            assert_eq!(to[..len], from[..len]);
            assert!(to[len..].iter().all(|byte| *byte == 255));
        }
    }

    #[test]
    fn buffers_are_exact() {
        let from: Vec<u8> = (0..208).collect();
        for len in [0, 1, 15, 16, 17, 127, 128, 129, 200] {
            let mut buffer = Buffer::new();
            // SAFETY: longer than `len` rounded up.
            unsafe { buffer.fill(NonNull::from(&from[0]), len) };
            assert_eq!(buffer.as_bytes(), &from[..len]);
        }
        for len in 0..=8 {
            let mut buffer = Buffer::new();
            buffer.fill_short(short(&from[..len]), len);
            assert_eq!(buffer.as_bytes(), &from[..len]);
        }
    }
}
