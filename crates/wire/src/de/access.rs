//! Elements, fields and variants, as serde asks for them.

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
    value::{StrDeserializer, U32Deserializer},
};

use super::Decoder;
use crate::{error::Error, numbers::Numbers, stack::Room, tag};

/// Elements, or keys and values, up to their number or the mark of their end.
pub(super) struct Elements<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    left: Option<usize>,
    n_read: usize,
    /// The names of the elements, if they are fields of a struct.
    fields: &'static [&'static str],
    is_over: bool,
}

impl<'a, 'de> Elements<'a, 'de> {
    #[inline]
    pub(super) fn new(decoder: &'a mut Decoder<'de>, len: Option<usize>, fields: &'static [&'static str]) -> Self {
        Self { decoder, left: len, n_read: 0, fields, is_over: false }
    }

    /// Whether there is one more.
    #[inline]
    fn advance(&mut self) -> bool {
        if self.is_over {
            return false;
        }
        match &mut self.left {
            Some(0) => self.is_over = true,
            Some(left) => *left -= 1,
            None => self.is_over = self.decoder.is_next(tag::END),
        }
        self.n_read += usize::from(!self.is_over);
        !self.is_over
    }

    /// Where the last one was.
    #[cold]
    fn locate(&self, e: Error) -> Error {
        let index = self.n_read.saturating_sub(1);
        match self.fields.get(index) {
            Some(name) => e.in_field(name),
            None => e.in_element(index),
        }
    }

    /// Sees to it that there is no more.
    #[inline]
    pub(super) fn finish(mut self) -> Result<(), Error> {
        if self.advance() {
            return Err(Error::malformed("more elements came than the type takes"));
        }
        Ok(())
    }
}

impl<'de> SeqAccess<'de> for &mut Elements<'_, 'de> {
    type Error = Error;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if !self.advance() {
            return Ok(None);
        }
        match self.decoder.seed(seed) {
            Ok(value) => Ok(Some(value)),
            Err(e) => Err(self.locate(e)),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        self.left
    }
}

impl<'de> MapAccess<'de> for &mut Elements<'_, 'de> {
    type Error = Error;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if !self.advance() {
            return Ok(None);
        }
        match self.decoder.seed(seed) {
            Ok(key) => Ok(Some(key)),
            Err(e) => Err(e.in_field("key")),
        }
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        self.decoder.seed(seed).map_err(|e| self.locate(e))
    }

    fn size_hint(&self) -> Option<usize> {
        self.left
    }
}

/// Fields by their names.
pub(super) struct Record<'e, 'a, 'de> {
    elements: &'e mut Elements<'a, 'de>,
    /// What begins with the last field's name.
    key: &'de [u8],
}

impl<'e, 'a, 'de> Record<'e, 'a, 'de> {
    pub(super) fn new(elements: &'e mut Elements<'a, 'de>) -> Self {
        Self { elements, key: &[] }
    }

    /// In which field it happened.
    #[cold]
    fn locate(&self, e: Error) -> Error {
        let mut decoder = Decoder { bytes: self.key, has_names: true, room: Room::here() };
        match decoder.name() {
            Ok(name) => e.in_field(name),
            Err(_) => e,
        }
    }
}

impl<'de> MapAccess<'de> for Record<'_, '_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if !self.elements.advance() {
            return Ok(None);
        }
        self.key = self.elements.decoder.bytes;
        self.elements.decoder.seed(seed).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        self.elements.decoder.seed(seed).map_err(|e| self.locate(e))
    }
}

/// Numbers without tags.
pub(super) struct NumberAccess<'de> {
    numbers: Numbers<'de>,
}

impl<'de> NumberAccess<'de> {
    pub(super) fn new(numbers: Numbers<'de>) -> Self {
        Self { numbers }
    }
}

impl<'de> SeqAccess<'de> for NumberAccess<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(left) = self.numbers.len.checked_sub(1) else { return Ok(None) };
        self.numbers.len = left;
        let mut number = Number {
            tag: self.numbers.tag,
            decoder: Decoder { bytes: self.numbers.bytes, has_names: false, room: Room::here() },
        };
        let value = seed.deserialize(&mut number)?;
        self.numbers.bytes = number.decoder.bytes;
        Ok(Some(value))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.numbers.len)
    }
}

struct Number<'de> {
    tag: u8,
    decoder: Decoder<'de>,
}

impl<'de> Deserializer<'de> for &mut Number<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.decoder.number(self.tag, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

/// A variant, and its content after it.
pub(super) struct Variant<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    key: Key<'de>,
    /// Of the type's variants; for errors.
    name: &'de str,
    is_read: bool,
}

enum Key<'de> {
    Index(u32),
    Name(&'de str),
}

impl<'a, 'de> Variant<'a, 'de> {
    pub(super) fn named(decoder: &'a mut Decoder<'de>, name: &'de str) -> Self {
        Self { decoder, key: Key::Name(name), name, is_read: false }
    }

    pub(super) fn at(decoder: &'a mut Decoder<'de>, index: u32, variants: &'static [&'static str]) -> Self {
        let name = variants.get(index as usize).copied().unwrap_or("?");
        Self { decoder, key: Key::Index(index), name, is_read: false }
    }

    fn content<T>(self, read: impl FnOnce(&mut Decoder<'de>) -> Result<T, Error>) -> Result<T, Error> {
        let name = self.name;
        read(self.decoder).map_err(|e| e.in_field(name))
    }
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let value = match self.key {
            Key::Index(index) => {
                let index: U32Deserializer<Error> = index.into_deserializer();
                seed.deserialize(index)?
            }
            Key::Name(name) => {
                let name: StrDeserializer<'_, Error> = name.into_deserializer();
                seed.deserialize(name)?
            }
        };
        Ok((value, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        self.content(|decoder| de::Deserialize::deserialize(decoder))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        self.content(|decoder| decoder.seed(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.content(|decoder| decoder.deserialize_tuple(len, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.content(|decoder| decoder.deserialize_struct("", fields, visitor))
    }
}

/// For those who read it as a map.
impl<'de> MapAccess<'de> for Variant<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if self.is_read {
            return Ok(None);
        }
        self.is_read = true;
        let name: de::value::BorrowedStrDeserializer<'de, Error> = de::value::BorrowedStrDeserializer::new(self.name);
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        self.decoder.seed(seed).map_err(|e| e.in_field(self.name))
    }
}
