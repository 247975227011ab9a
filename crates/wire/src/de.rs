//! Bytes to values.

mod access;

use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

use self::access::{Counted, Elements, End, Index, Marked, NumberAccess, Record, Variant};
use crate::{
    HANDLE,
    error::{Error, Trouble},
    numbers::{self, Numbers},
    stack::Room,
    tag::{self, LONG, SMALL},
};

/// Reads one value after another from the front of some bytes.
pub(crate) struct Decoder<'de> {
    pub(crate) bytes: &'de [u8],
    has_names: bool,
    room: Room,
}

#[cold]
fn short() -> Error {
    Error::malformed("the bytes end too early")
}

#[cold]
fn unexpected(expected: &str, tag: u8) -> Error {
    Error::malformed(format!("expected {expected}, found {}", tag::describe(tag)))
}

impl<'de> Decoder<'de> {
    #[inline]
    pub(crate) fn new(bytes: &'de [u8]) -> Self {
        let (has_names, bytes) = match bytes {
            [tag::NAMED, rest @ ..] => (true, rest),
            _ => (false, bytes),
        };
        Self { bytes, has_names, room: Room::here() }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (head, rest) = self.bytes.split_first_chunk().ok_or_else(short)?;
        self.bytes = rest;
        Ok(*head)
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, Error> {
        self.array().map(|[byte]| byte)
    }

    #[inline]
    fn peek(&self) -> Result<u8, Error> {
        self.bytes.first().copied().ok_or_else(short)
    }

    /// Passes over the next byte if it is `tag`.
    #[inline]
    fn is_next(&mut self, tag: u8) -> bool {
        match self.bytes {
            [next, rest @ ..] if *next == tag => {
                self.bytes = rest;
                true
            }
            _ => false,
        }
    }

    #[inline]
    fn long_len(&mut self) -> Result<u64, Error> {
        match self.byte()? {
            LONG => self.array().map(u64::from_ne_bytes),
            short => Ok(short.into()),
        }
    }

    /// The number of things that take at least `least` bytes each.
    #[inline]
    fn len(&mut self, least: usize) -> Result<usize, Error> {
        let len = self.long_len()?;
        match usize::try_from(len).ok().and_then(|len| len.checked_mul(least)) {
            Some(n_bytes) if n_bytes <= self.bytes.len() => Ok(len as usize),
            _ => Err(short()),
        }
    }

    #[inline]
    fn slice(&mut self) -> Result<&'de [u8], Error> {
        let len = self.len(1)?;
        let (head, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        Ok(head)
    }

    #[inline]
    fn str(&mut self) -> Result<&'de str, Error> {
        std::str::from_utf8(self.slice()?).map_err(|e| Error::malformed(e.to_string()))
    }

    fn numbers(&mut self) -> Result<Numbers<'de>, Error> {
        let tag = self.byte()?;
        let width = numbers::width(tag).ok_or_else(|| unexpected("the tag of a number", tag))?;
        let len = self.len(width)?;
        let (bytes, rest) = self.bytes.split_at(len * width);
        self.bytes = rest;
        Ok(Numbers { tag, len, bytes })
    }

    /// Passes over the marks of options, for those who do not ask for one.
    #[inline]
    fn pass_options(&mut self) {
        while self.is_next(tag::SOME) {}
    }

    /// Reads what is inside another value.
    #[inline]
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.room.check().map_err(|_| Error::too_deep())?;
        read(self)
    }

    /// Reads elements, and sees to it that none is left.
    #[inline]
    fn elements<T, E: End>(
        &mut self,
        end: E,
        visit: impl FnOnce(&mut Elements<'_, 'de, E>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.nested(|decoder| {
            let mut elements = Elements::new(decoder, end);
            let value = visit(&mut elements)?;
            elements.finish()?;
            Ok(value)
        })
    }

    #[inline]
    fn sequence<V: Visitor<'de>>(&mut self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.elements(Counted(len, &[]), |elements| visitor.visit_seq(elements))
    }

    /// The fields of a struct, which go by position.
    #[inline]
    fn fields<V: Visitor<'de>>(&mut self, names: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.elements(Counted(names.len(), names), |fields| visitor.visit_seq(fields))
    }

    /// A tuple that is not just so many elements.
    fn any_tuple<V: Visitor<'de>>(&mut self, len: usize, visitor: V) -> Result<V::Value, Error> {
        if !self.is_next(tag::SEQ) {
            return self.value(visitor);
        }
        match self.long_len()? {
            came if came == len as u64 => self.sequence(len, visitor),
            came => Err(Error::malformed(format!("{came} elements came for the {len} of the type"))),
        }
    }

    /// A struct that is not just so many fields by position.
    fn any_struct<V: Visitor<'de>>(&mut self, names: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.pass_options();
        match self.byte()? {
            tag::STRUCT => match self.long_len()? {
                len if len == names.len() as u64 => self.fields(names, visitor),
                len => Err(Error::malformed(format!("{len} fields came for the {} of the type", names.len()))),
            },
            tag => self.any(tag, visitor),
        }
    }

    /// The value after `tag`, whatever it is.
    fn any<V: Visitor<'de>>(&mut self, tag: u8, visitor: V) -> Result<V::Value, Error> {
        match tag {
            SMALL.. => visitor.visit_u8(tag - SMALL),
            tag::NONE => visitor.visit_none(),
            tag::SOME => self.nested(|decoder| visitor.visit_some(decoder)),
            tag::UNIT => visitor.visit_unit(),
            tag::FALSE => visitor.visit_bool(false),
            tag::TRUE => visitor.visit_bool(true),
            tag::CHAR => visitor.visit_char(self.char()?),
            tag::STR => visitor.visit_borrowed_str(self.str()?),
            tag::BYTES => visitor.visit_borrowed_bytes(self.slice()?),
            tag::ARRAY => {
                let numbers = self.numbers()?;
                match numbers::vector::<V>(&numbers) {
                    Some(vector) => Ok(vector),
                    None => visitor.visit_seq(NumberAccess::new(numbers)),
                }
            }
            tag::SEQ => {
                let len = self.len(1)?;
                self.sequence(len, visitor)
            }
            tag::SEQ_OPEN => self.elements(Marked(false), |elements| visitor.visit_seq(elements)),
            tag::MAP => {
                let len = self.len(2)?;
                self.elements(Counted(len, &[]), |entries| visitor.visit_map(entries))
            }
            tag::MAP_OPEN => self.elements(Marked(false), |entries| visitor.visit_map(entries)),
            tag::STRUCT => {
                let len = self.len(1)?;
                self.sequence(len, visitor)
            }
            tag::RECORD => {
                self.slice()?;
                self.elements(Marked(false), |fields| visitor.visit_map(Record::new(fields)))
            }
            // As in JSON: a map with one entry.
            tag::NAMED_VARIANT => {
                let name = self.str()?;
                self.nested(|decoder| visitor.visit_map(Variant::new(decoder, name)))
            }
            tag => self.number(tag, visitor),
        }
    }

    #[inline]
    fn number<V: Visitor<'de>>(&mut self, tag: u8, visitor: V) -> Result<V::Value, Error> {
        match tag {
            SMALL.. => visitor.visit_u8(tag - SMALL),
            tag::U8 => visitor.visit_u8(u8::from_ne_bytes(self.array()?)),
            tag::U16 => visitor.visit_u16(u16::from_ne_bytes(self.array()?)),
            tag::U32 => visitor.visit_u32(u32::from_ne_bytes(self.array()?)),
            tag::U64 => visitor.visit_u64(u64::from_ne_bytes(self.array()?)),
            // Serde's buffer has none so large.
            tag::U128 => match u128::from_ne_bytes(self.array()?) {
                v if u64::try_from(v).is_ok() => visitor.visit_u64(v as u64),
                v => visitor.visit_u128(v),
            },
            tag::I8 => visitor.visit_i8(i8::from_ne_bytes(self.array()?)),
            tag::I16 => visitor.visit_i16(i16::from_ne_bytes(self.array()?)),
            tag::I32 => visitor.visit_i32(i32::from_ne_bytes(self.array()?)),
            tag::I64 => visitor.visit_i64(i64::from_ne_bytes(self.array()?)),
            tag::I128 => match i128::from_ne_bytes(self.array()?) {
                v if i64::try_from(v).is_ok() => visitor.visit_i64(v as i64),
                v => visitor.visit_i128(v),
            },
            tag::F32 => visitor.visit_f32(f32::from_ne_bytes(self.array()?)),
            tag::F64 => visitor.visit_f64(f64::from_ne_bytes(self.array()?)),
            tag => Err(unexpected("a value", tag)),
        }
    }

    #[inline]
    fn char(&mut self) -> Result<char, Error> {
        let code = self.array().map(u32::from_ne_bytes)?;
        char::try_from(code).map_err(|e| Error::malformed(e.to_string()))
    }

    /// The value after options, whatever it is.
    #[inline(never)]
    fn value<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Error> {
        self.pass_options();
        let tag = self.byte()?;
        self.any(tag, visitor)
    }
}

macro_rules! numbers {
    ($($name:ident, $visit:ident: $type:ty, $tag:ident;)*) => {
        $(
            #[inline]
            fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
                // One look at the length for both.
                if let Some((head, rest)) = self.bytes.split_first_chunk::<{ 1 + size_of::<$type>() }>()
                    && let [tag::$tag, number @ ..] = head
                {
                    self.bytes = rest;
                    return visitor.$visit(<$type>::from_ne_bytes(*number));
                }
                self.value(visitor)
            }
        )*
    };
}

macro_rules! as_it_is {
    ($($name:ident)*) => {
        $(
            #[inline]
            fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
                self.value(visitor)
            }
        )*
    };
}

impl<'de> de::Deserializer<'de> for &mut Decoder<'de> {
    type Error = Error;

    numbers!(
        deserialize_i8, visit_i8: i8, I8; deserialize_i16, visit_i16: i16, I16; deserialize_i32, visit_i32: i32, I32;
        deserialize_i64, visit_i64: i64, I64; deserialize_i128, visit_i128: i128, I128;
        deserialize_u16, visit_u16: u16, U16; deserialize_u32, visit_u32: u32, U32;
        deserialize_u64, visit_u64: u64, U64; deserialize_u128, visit_u128: u128, U128;
        deserialize_f32, visit_f32: f32, F32; deserialize_f64, visit_f64: f64, F64;
    );
    as_it_is!(
        deserialize_char deserialize_bytes deserialize_byte_buf deserialize_map deserialize_identifier
        deserialize_ignored_any
    );

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if let [tag @ (tag::FALSE | tag::TRUE), rest @ ..] = self.bytes {
            self.bytes = rest;
            return visitor.visit_bool(*tag == tag::TRUE);
        }
        self.value(visitor)
    }

    #[inline]
    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if let [tag @ SMALL..=u8::MAX, rest @ ..] = self.bytes {
            self.bytes = rest;
            return visitor.visit_u8(tag - SMALL);
        }
        self.value(visitor)
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_next(tag::STR) {
            return visitor.visit_borrowed_str(self.str()?);
        }
        self.value(visitor)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_next(tag::SEQ) {
            let len = self.len(1)?;
            return self.sequence(len, visitor);
        }
        self.value(visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.has_names
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let tag = self.byte()?;
        self.any(tag, visitor)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.peek()? {
            tag::NONE | tag::UNIT => {
                self.byte()?;
                visitor.visit_none()
            }
            tag::SOME => {
                self.byte()?;
                self.nested(|decoder| visitor.visit_some(decoder))
            }
            _ => self.nested(|decoder| visitor.visit_some(decoder)),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_next(tag::UNIT) || self.is_next(tag::NONE) {
            return visitor.visit_unit();
        }
        self.value(visitor)
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_unit(visitor)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        if is_private(name) {
            return self.deserialize_any(visitor);
        }
        self.nested(|decoder| visitor.visit_newtype_struct(decoder))
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        if let [tag::SEQ, came, rest @ ..] = self.bytes
            && *came < LONG
            && usize::from(*came) == len
        {
            self.bytes = rest;
            return self.sequence(len, visitor);
        }
        self.any_tuple(len, visitor)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if let [tag::STRUCT, len, rest @ ..] = self.bytes
            && *len < LONG
            && usize::from(*len) == fields.len()
        {
            self.bytes = rest;
            return self.fields(fields, visitor);
        }
        self.any_struct(fields, visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.pass_options();
        match self.byte()? {
            tag::UNIT_VARIANT => visitor.visit_enum(self.long_len()?.min(u32::MAX.into()).variant_index()),
            tag::VARIANT => {
                let index = self.long_len()?.min(u32::MAX.into()) as u32;
                self.nested(|decoder| visitor.visit_enum(Variant::new(decoder, Index(index, variants))))
            }
            tag::STR => visitor.visit_enum(self.str()?.into_deserializer()),
            tag::NAMED_VARIANT => {
                let name = self.str()?;
                self.nested(|decoder| visitor.visit_enum(Variant::new(decoder, name)))
            }
            // What was written by hand: a map with one entry, as JSON has it.
            tag::MAP if self.len(2)? == 1 => {
                let name = self.name()?;
                self.nested(|decoder| visitor.visit_enum(Variant::new(decoder, name)))
            }
            tag::MAP_OPEN => {
                let name = self.name()?;
                let value = self.nested(|decoder| visitor.visit_enum(Variant::new(decoder, name)))?;
                if self.is_next(tag::END) { Ok(value) } else { Err(Error::malformed("more than one variant came")) }
            }
            tag => Err(unexpected("an enum's variant", tag)),
        }
    }
}

impl<'de> Decoder<'de> {
    /// A name as it stands before a field, or a variant written by hand.
    fn name(&mut self) -> Result<&'de str, Error> {
        match self.byte()? {
            tag::STR => self.str(),
            tag => Err(unexpected("a variant's name", tag)),
        }
    }
}

/// The number of a variant without content, on its way to the visitor.
trait VariantIndex {
    fn variant_index(self) -> de::value::U32Deserializer<Error>;
}

impl VariantIndex for u64 {
    fn variant_index(self) -> de::value::U32Deserializer<Error> {
        (self as u32).into_deserializer()
    }
}

/// What crates of serde's own family say to each other through a name: it is only understood as it was written.
fn is_private(name: &str) -> bool {
    name.starts_with('$') && name != HANDLE
}

/// Reads a value with `seed`.
impl<'de> Decoder<'de> {
    #[inline]
    fn seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self)
    }
}
