//! Bytes, read from the front: tags, lengths, and the pieces that values are made of.

use serde::{
    Deserialize,
    de::{DeserializeSeed, Visitor},
};

use crate::{
    error::{Error, Trouble},
    numbers::{self, Numbers},
    stack::Room,
    tag::{self, LONG, SMALL},
    text::from_utf8,
};

/// Reads one value after another from the front of some bytes.
pub(crate) struct Decoder<'de> {
    pub(crate) bytes: &'de [u8],
    pub(super) has_names: bool,
    pub(super) room: Room,
}

/// A number of any kind. One of 128 bits is there only if fewer do not hold it: serde's buffer has none so large.
#[derive(Clone, Copy)]
pub(super) enum AnyNumber {
    U8(u8),
    U16(u16),
    U32(u32),
    U64(u64),
    U128(u128),
    I8(i8),
    I16(i16),
    I32(i32),
    I64(i64),
    I128(i128),
    F32(f32),
    F64(f64),
}

impl AnyNumber {
    #[inline]
    pub(super) fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::U8(v) => visitor.visit_u8(v),
            Self::U16(v) => visitor.visit_u16(v),
            Self::U32(v) => visitor.visit_u32(v),
            Self::U64(v) => visitor.visit_u64(v),
            Self::U128(v) => visitor.visit_u128(v),
            Self::I8(v) => visitor.visit_i8(v),
            Self::I16(v) => visitor.visit_i16(v),
            Self::I32(v) => visitor.visit_i32(v),
            Self::I64(v) => visitor.visit_i64(v),
            Self::I128(v) => visitor.visit_i128(v),
            Self::F32(v) => visitor.visit_f32(v),
            Self::F64(v) => visitor.visit_f64(v),
        }
    }
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

    /// The number after its tag.
    pub(super) fn number(&mut self, tag: u8) -> Result<AnyNumber, Error> {
        Ok(match tag {
            SMALL.. => AnyNumber::U8(tag - SMALL),
            tag::U8 => AnyNumber::U8(u8::from_ne_bytes(self.array()?)),
            tag::U16 => AnyNumber::U16(u16::from_ne_bytes(self.array()?)),
            tag::U32 => AnyNumber::U32(u32::from_ne_bytes(self.array()?)),
            tag::U64 => AnyNumber::U64(u64::from_ne_bytes(self.array()?)),
            tag::U128 => match u128::from_ne_bytes(self.array()?) {
                v if u64::try_from(v).is_ok() => AnyNumber::U64(v as u64),
                v => AnyNumber::U128(v),
            },
            tag::I8 => AnyNumber::I8(i8::from_ne_bytes(self.array()?)),
            tag::I16 => AnyNumber::I16(i16::from_ne_bytes(self.array()?)),
            tag::I32 => AnyNumber::I32(i32::from_ne_bytes(self.array()?)),
            tag::I64 => AnyNumber::I64(i64::from_ne_bytes(self.array()?)),
            tag::I128 => match i128::from_ne_bytes(self.array()?) {
                v if i64::try_from(v).is_ok() => AnyNumber::I64(v as i64),
                v => AnyNumber::I128(v),
            },
            tag::F32 => AnyNumber::F32(f32::from_ne_bytes(self.array()?)),
            tag::F64 => AnyNumber::F64(f64::from_ne_bytes(self.array()?)),
            tag => return Err(unexpected("a value", tag)),
        })
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

    /// To be called before what is inside another value is read.
    #[inline]
    pub(super) fn enter(&mut self) -> Result<(), Error> {
        self.room.check().map_err(|_| Error::too_deep())
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
