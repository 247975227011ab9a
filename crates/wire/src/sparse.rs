//! Bytes without the long pieces that are known from elsewhere.

use crate::{
    populate::populate,
    sink::{Full, Sink},
};

/// Pieces from this length on are left out.
pub(crate) const LONG: usize = 256 << 10;

/// Takes bytes, and keeps instead of a long piece that is one of the known ones which of them it is. To copy megabytes that are only
/// compared with others takes as long as to send them, most of it for new memory.
pub(crate) struct Sparse<'a> {
    bytes: &'a mut Vec<u8>,
    known: &'a [&'a [u8]],
    /// How many bytes were kept before it, and which of the known pieces it is.
    left_out: Vec<(usize, usize)>,
}

impl<'a> Sparse<'a> {
    /// Appends to `bytes` all but the `known` pieces.
    pub(crate) fn without(known: &'a [&'a [u8]], bytes: &'a mut Vec<u8>) -> Self {
        Self { bytes, known, left_out: Vec::new() }
    }

    /// Appends all to `bytes`.
    pub(crate) fn all(bytes: &'a mut Vec<u8>) -> Self {
        Self::without(&[], bytes)
    }

    /// What was left out, by the place in the bytes that were kept.
    pub(crate) fn into_left_out(self) -> Vec<(usize, usize)> {
        self.left_out
    }
}

impl Sink for Sparse<'_> {
    #[inline]
    fn tagged<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) -> Result<(), Full> {
        self.bytes.tagged(tag, bytes)
    }

    #[inline]
    fn push(&mut self, byte: u8) -> Result<(), Full> {
        self.bytes.push(byte);
        Ok(())
    }

    #[inline]
    fn extend(&mut self, bytes: &[u8]) -> Result<(), Full> {
        if bytes.len() >= LONG {
            if let Some(piece) = self.known.iter().position(|known| *known == bytes) {
                self.left_out.push((self.bytes.len(), piece));
                return Ok(());
            }
            // It is the first value, and most likely there has been nothing there.
            self.bytes.reserve(bytes.len());
            populate(&mut self.bytes.spare_capacity_mut()[..bytes.len()]);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn position(&self) -> usize {
        self.bytes.len()
    }
}
