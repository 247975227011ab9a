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

    /// How many bytes it has taken.
    fn position(&self) -> usize;
}

impl Sink for Vec<u8> {
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
