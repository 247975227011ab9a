use proc_core::stack::Room;
use serde::de::{self, DeserializeSeed, Error as _, IntoDeserializer, Visitor, value::U32Deserializer};

use super::{Error, LONG};

pub(super) struct Decoder<'de> {
    pub(super) bytes: &'de [u8],
    /// Checked where something is nested.
    pub(super) room: Room,
}

#[cold]
fn short() -> Error {
    Error::custom("bytes end too early")
}

#[cold]
fn opaque() -> Error {
    Error::custom("the type must be known beforehand: packed items do not describe themselves")
}

impl<'de> Decoder<'de> {
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
    fn len(&mut self) -> Result<u64, Error> {
        match self.byte()? {
            LONG => self.array().map(u64::from_le_bytes),
            short => Ok(short.into()),
        }
    }

    #[inline]
    fn variant(&mut self) -> Result<u32, Error> {
        u32::try_from(self.len()?).map_err(Error::custom)
    }

    /// The length of what takes at least a byte for each element.
    #[inline]
    fn bounded_len(&mut self) -> Result<usize, Error> {
        let len = self.len()?;
        if len > self.bytes.len() as u64 {
            return Err(short());
        }
        Ok(len as usize)
    }

    #[inline]
    fn slice(&mut self) -> Result<&'de [u8], Error> {
        let len = self.bounded_len()?;
        let (head, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        Ok(head)
    }

    fn str(&mut self) -> Result<&'de str, Error> {
        std::str::from_utf8(self.slice()?).map_err(Error::custom)
    }

    /// Reads a sequence of `len` elements through `visit`, and passes over its padding.
    fn counted<T>(&mut self, visit: impl FnOnce(Elements<'_, 'de>) -> Result<T, Error>) -> Result<T, Error> {
        self.room.check().map_err(Error::custom)?;
        let len = self.bounded_len()?;
        let before = self.bytes.len();
        let value = visit(Elements { decoder: self, left: len })?;
        let padding = len.saturating_sub(before - self.bytes.len());
        self.bytes = self.bytes.get(padding..).ok_or_else(short)?;
        Ok(value)
    }
}

macro_rules! numbers {
    ($($name:ident, $visit:ident: $type:ty;)*) => {
        $(
            fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
                visitor.$visit(<$type>::from_le_bytes(self.array()?))
            }
        )*
    };
}

macro_rules! refuse {
    ($($name:ident)*) => {
        $(
            fn $name<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
                Err(opaque())
            }
        )*
    };
}

impl<'de> de::Deserializer<'de> for &mut Decoder<'de> {
    type Error = Error;

    numbers!(
        deserialize_i8, visit_i8: i8; deserialize_i16, visit_i16: i16; deserialize_i32, visit_i32: i32;
        deserialize_i64, visit_i64: i64; deserialize_i128, visit_i128: i128;
        deserialize_u8, visit_u8: u8; deserialize_u16, visit_u16: u16; deserialize_u32, visit_u32: u32;
        deserialize_u64, visit_u64: u64; deserialize_u128, visit_u128: u128;
        deserialize_f32, visit_f32: f32; deserialize_f64, visit_f64: f64;
    );
    refuse!(deserialize_any deserialize_identifier deserialize_ignored_any);

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            _ => Err(Error::custom("neither true nor false")),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let code = self.array().map(u32::from_le_bytes)?;
        visitor.visit_char(char::try_from(code).map_err(Error::custom)?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.str()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.str()?)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_bytes(self.slice()?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_bytes(self.slice()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.room.check().map_err(Error::custom)?;
        match self.byte()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self),
            _ => Err(Error::custom("neither something nor nothing")),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.counted(|elements| visitor.visit_seq(elements))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.counted(|elements| visitor.visit_map(elements))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Elements { decoder: self, left: len })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(len, visitor)
    }

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
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.room.check().map_err(Error::custom)?;
        visitor.visit_enum(self)
    }
}

/// Elements to come.
struct Elements<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    left: usize,
}

impl<'de> Elements<'_, 'de> {
    fn next<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.decoder).map(Some)
    }
}

impl<'de> de::SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.next(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> de::MapAccess<'de> for Elements<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.next(seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(&mut *self.decoder)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> de::EnumAccess<'de> for &mut Decoder<'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let variant: U32Deserializer<Error> = self.variant()?.into_deserializer();
        Ok((seed.deserialize(variant)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for &mut Decoder<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        de::Deserializer::deserialize_tuple(self, len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        de::Deserializer::deserialize_tuple(self, fields.len(), visitor)
    }
}
