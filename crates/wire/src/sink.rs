//! Where encoded bytes go.

use std::fmt;

/// There is no room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no room for more bytes")
    }
}

impl std::error::Error for Full {}

/// Takes the bytes of a value, one after another.
pub trait Sink {
    /// Takes one byte.
    ///
    /// # Errors
    /// [`Full`].
    fn push(&mut self, byte: u8) -> Result<(), Full>;

    /// Takes some bytes, all or none of them.
    ///
    /// # Errors
    /// [`Full`].
    fn extend(&mut self, bytes: &[u8]) -> Result<(), Full>;

    /// Takes a tag and the bytes of a number; what it has taken if there is no room for all must be forgotten. Put together
    /// beforehand, bytes that were written one by one are read again as a whole, which a processor does not do before the
    /// writes have reached its cache.
    ///
    /// # Errors
    /// [`Full`].
    #[inline]
    fn tagged<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) -> Result<(), Full> {
        self.push(tag)?;
        self.extend(&bytes)
    }

    /// Takes a tag, a length, and so many bytes, as [`tagged`](Self::tagged).
    ///
    /// # Errors
    /// [`Full`].
    #[inline]
    fn short(&mut self, tag: u8, len: u8, bytes: &[u8]) -> Result<(), Full> {
        self.extend(&[tag, len])?;
        self.extend(bytes)
    }

    /// How many bytes it has taken.
    fn position(&self) -> usize;
}

impl Sink for Vec<u8> {
    #[inline]
    fn tagged<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) -> Result<(), Full> {
        self.reserve(1 + N);
        self.push(tag);
        self.extend_from_slice(&bytes);
        Ok(())
    }

    #[inline]
    fn push(&mut self, byte: u8) -> Result<(), Full> {
        self.push(byte);
        Ok(())
    }

    #[inline]
    fn extend(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn position(&self) -> usize {
        self.len()
    }
}

/// Some bytes that are there already, to be written over from the first on.
pub(crate) struct Place<'a> {
    rest: &'a mut [u8],
    /// How long it was at first.
    room: usize,
}

impl<'a> Place<'a> {
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Self { room: bytes.len(), rest: bytes }
    }

    /// The next `n` bytes.
    #[inline(always)]
    fn next(&mut self, n: usize) -> Result<&'a mut [u8], Full> {
        if n > self.rest.len() {
            return Err(Full);
        }
        let (next, rest) = std::mem::take(&mut self.rest).split_at_mut(n);
        self.rest = rest;
        Ok(next)
    }
}

impl Sink for Place<'_> {
    #[inline]
    fn tagged<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) -> Result<(), Full> {
        let (first, place) = self.next(1 + N)?.split_at_mut(1);
        first[0] = tag;
        place.copy_from_slice(&bytes);
        Ok(())
    }

    #[inline]
    fn push(&mut self, byte: u8) -> Result<(), Full> {
        self.next(1)?[0] = byte;
        Ok(())
    }

    #[inline]
    fn extend(&mut self, bytes: &[u8]) -> Result<(), Full> {
        copy(bytes, self.next(bytes.len())?);
        Ok(())
    }

    #[inline]
    fn short(&mut self, tag: u8, len: u8, bytes: &[u8]) -> Result<(), Full> {
        let (head, place) = self.next(2 + bytes.len())?.split_at_mut(2);
        head.copy_from_slice(&[tag, len]);
        copy(bytes, place);
        Ok(())
    }

    #[inline]
    fn position(&self) -> usize {
        self.room - self.rest.len()
    }
}

/// `copy_from_slice`, without a call for the few bytes of a short text.
#[inline]
fn copy(from: &[u8], to: &mut [u8]) {
    /// The first and the last `N`, which may overlap.
    #[inline]
    fn ends<const N: usize>(from: &[u8], to: &mut [u8]) {
        if let (Some(from), Some(to)) = (from.first_chunk::<N>(), to.first_chunk_mut()) {
            *to = *from;
        }
        if let (Some(from), Some(to)) = (from.last_chunk::<N>(), to.last_chunk_mut()) {
            *to = *from;
        }
    }
    match from.len() {
        4..8 => ends::<4>(from, to),
        8..=16 => ends::<8>(from, to),
        _ => to.copy_from_slice(from),
    }
}

/// Counts bytes and keeps none: how much room a value takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counter(usize);

impl Sink for Counter {
    #[inline]
    fn push(&mut self, _byte: u8) -> Result<(), Full> {
        self.extend(&[0])
    }

    #[inline]
    fn extend(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.0 = self.0.checked_add(bytes.len()).ok_or(Full)?;
        Ok(())
    }

    #[inline]
    fn position(&self) -> usize {
        self.0
    }
}
