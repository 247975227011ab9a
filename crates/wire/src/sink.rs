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

    /// Takes a tag and the bytes of a number; what it has taken if there is no room for all must be forgotten. Put together beforehand, bytes that were written
    /// one by one are read again as a whole, which a processor does not do before the writes have reached its cache.
    ///
    /// # Errors
    /// [`Full`].
    #[inline]
    fn tagged<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) -> Result<(), Full> {
        self.push(tag)?;
        self.extend(&bytes)
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
