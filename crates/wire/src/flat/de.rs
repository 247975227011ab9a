//! Reads a value of a known shape.

use serde::de::{self, DeserializeSeed, SeqAccess, Visitor};

use crate::{
    COMPARED, HANDLE,
    error::Error,
    shape::{Shape, Step, Trail},
    tag,
};

/// Reads one value.
pub(super) struct Reader<'de> {
    bytes: &'de [u8],
    trail: Trail,
}

#[cold]
pub(super) fn other() -> Error {
    Error::malformed("the type asks for something else than it did before")
}

impl<'de> Reader<'de> {
    #[inline(always)]
    pub(super) fn new(bytes: &'de [u8]) -> Self {
        Self { bytes, trail: Trail::new() }
    }

    /// Whether all has been read that values of the shape consist of, and nothing else. What was read otherwise is nothing.
    #[inline(always)]
    pub(super) fn has_read(&self, shape: &Shape) -> bool {
        self.trail.is(&shape.trail)
    }

    /// Refuses something for good: a `Deserialize` may ask for something else in its place.
    #[inline(always)]
    fn refuse(&mut self) -> Error {
        self.trail.lose();
        other()
    }

    #[inline(always)]
    fn leaf<const N: usize>(&mut self, tag: u8) -> Result<[u8; N], Error> {
        self.trail.push(Step::leaf(tag));
        let Some((bytes, rest)) = self.bytes.split_first_chunk() else { return Err(self.refuse()) };
        self.bytes = rest;
        Ok(*bytes)
    }
}

macro_rules! numbers {
    ($($name:ident, $visit:ident: $type:ty, $tag:ident;)*) => {
        $(
            #[inline(always)]
            fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
                visitor.$visit(<$type>::from_ne_bytes(self.leaf(tag::$tag)?))
            }
        )*
    };
}

macro_rules! refused {
    ($($name:ident)*) => {
        $(
            fn $name<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
                Err(self.refuse())
            }
        )*
    };
}

impl<'de> de::Deserializer<'de> for &mut Reader<'de> {
    type Error = Error;

    numbers!(
        deserialize_i8, visit_i8: i8, I8; deserialize_i16, visit_i16: i16, I16; deserialize_i32, visit_i32: i32, I32;
        deserialize_i64, visit_i64: i64, I64; deserialize_i128, visit_i128: i128, I128;
        deserialize_u8, visit_u8: u8, U8; deserialize_u16, visit_u16: u16, U16; deserialize_u32, visit_u32: u32, U32;
        deserialize_u64, visit_u64: u64, U64; deserialize_u128, visit_u128: u128, U128;
        deserialize_f32, visit_f32: f32, F32; deserialize_f64, visit_f64: f64, F64;
    );
    refused!(
        deserialize_any deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_option
        deserialize_seq deserialize_map deserialize_identifier deserialize_ignored_any
    );

    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline(always)]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.leaf(tag::FALSE)? {
            [0] => visitor.visit_bool(false),
            [1] => visitor.visit_bool(true),
            _ => Err(Error::malformed("neither true nor false")),
        }
    }

    #[inline]
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let code = u32::from_ne_bytes(self.leaf(tag::CHAR)?);
        visitor.visit_char(char::try_from(code).map_err(|e| Error::malformed(e.to_string()))?)
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.trail.push(Step::leaf(tag::UNIT));
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_unit(visitor)
    }

    #[inline(always)]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        if name == HANDLE || name == COMPARED { Err(self.refuse()) } else { visitor.visit_newtype_struct(self) }
    }

    #[inline(always)]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.trail.push(Step::open(len));
        let mut elements = ElementReader { reader: &mut *self, left: len };
        let value = visitor.visit_seq(&mut elements)?;
        if elements.left == 0 { Ok(value) } else { Err(self.refuse()) }
    }

    #[inline(always)]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline(always)]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Error> {
        Err(self.refuse())
    }
}

/// Elements to come.
struct ElementReader<'r, 'de> {
    reader: &'r mut Reader<'de>,
    left: usize,
}

impl<'de> SeqAccess<'de> for &mut ElementReader<'_, 'de> {
    type Error = Error;

    #[inline(always)]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.reader).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}
