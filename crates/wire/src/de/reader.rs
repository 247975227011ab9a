//! Bytes, read from the front: tags, lengths, and the pieces that values are made of.

use serde::{Deserialize, de::DeserializeSeed};

use crate::{
    error::{Error, Trouble},
    numbers::{self, Numbers},
    stack::Room,
    tag::{self, LONG},
    text::from_utf8,
};

/// Reads one value after another from the front of some bytes.
pub(crate) struct Decoder<'de> {
    pub(crate) bytes: &'de [u8],
    pub(super) has_names: bool,
    pub(super) room: Room,
}

#[cold]
fn short() -> Error {
    Error::malformed("the bytes end too early")
}

#[cold]
pub(super) fn unexpected(expected: &str, tag: u8) -> Error {
    Error::malformed(format!("expected {expected}, found {}", tag::describe(tag)))
}

impl<'de> Decoder<'de> {
    #[inline]
    pub(crate) fn new(bytes: &'de [u8]) -> Self {
        let mut decoder = Self::of_row(bytes);
        decoder.begin();
        decoder
    }

    /// Of values that are read by [`next`](Self::next).
    #[inline]
    pub(crate) fn of_row(bytes: &'de [u8]) -> Self {
        Self { bytes, has_names: false, room: Room::here() }
    }

    /// Finds out in which form the next value is.
    #[inline]
    fn begin(&mut self) {
        self.has_names = self.is_next(tag::NAMED);
    }

    /// Reads the next value of a row; after an error there is none.
    #[inline(always)]
    pub(crate) fn next<T: Deserialize<'de>>(&mut self) -> Result<T, Error> {
        self.begin();
        let value = T::deserialize(&mut *self);
        if value.is_err() {
            self.bytes = &[];
        }
        value
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (head, rest) = self.bytes.split_first_chunk().ok_or_else(short)?;
        self.bytes = rest;
        Ok(*head)
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, Error> {
        self.array().map(|[byte]| byte)
    }

    #[inline]
    pub(super) fn peek(&self) -> Result<u8, Error> {
        self.bytes.first().copied().ok_or_else(short)
    }

    /// Passes over the next byte if it is `tag`.
    #[inline]
    pub(super) fn is_next(&mut self, tag: u8) -> bool {
        match self.bytes {
            [next, rest @ ..] if *next == tag => {
                self.bytes = rest;
                true
            }
            _ => false,
        }
    }

    #[inline]
    pub(super) fn long_len(&mut self) -> Result<u64, Error> {
        match self.byte()? {
            LONG => self.array().map(u64::from_ne_bytes),
            short => Ok(short.into()),
        }
    }

    /// The number of things that take at least `least` bytes each.
    #[inline]
    pub(super) fn len(&mut self, least: usize) -> Result<usize, Error> {
        let len = self.long_len()?;
        match usize::try_from(len).ok().and_then(|len| len.checked_mul(least)) {
            Some(n_bytes) if n_bytes <= self.bytes.len() => Ok(len as usize),
            _ => Err(short()),
        }
    }

    #[inline]
    pub(super) fn slice(&mut self) -> Result<&'de [u8], Error> {
        let len = self.len(1)?;
        let (head, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        Ok(head)
    }

    #[inline]
    pub(super) fn str(&mut self) -> Result<&'de str, Error> {
        from_utf8(self.slice()?).map_err(|e| Error::malformed(e.to_string()))
    }

    pub(super) fn numbers(&mut self) -> Result<Numbers<'de>, Error> {
        let tag = self.byte()?;
        let width = numbers::width(tag).ok_or_else(|| unexpected("the tag of a number", tag))?;
        let len = self.len(width)?;
        let (bytes, rest) = self.bytes.split_at(len * width);
        self.bytes = rest;
        Ok(Numbers { tag, len, bytes })
    }

    /// Passes over the marks of options, for those who do not ask for one.
    #[inline]
    pub(super) fn pass_options(&mut self) {
        while self.is_next(tag::SOME) {}
    }

    /// Reads what is inside another value.
    #[inline]
    pub(super) fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.room.check().map_err(|_| Error::too_deep())?;
        read(self)
    }

    #[inline]
    pub(super) fn char(&mut self) -> Result<char, Error> {
        let code = self.array().map(u32::from_ne_bytes)?;
        char::try_from(code).map_err(|e| Error::malformed(e.to_string()))
    }

    /// A name as it stands before a field, or a variant written by hand.
    pub(super) fn name(&mut self) -> Result<&'de str, Error> {
        match self.byte()? {
            tag::STR => self.str(),
            tag => Err(unexpected("a variant's name", tag)),
        }
    }

    /// Reads a value with `seed`.
    #[inline]
    pub(super) fn seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self)
    }
}
