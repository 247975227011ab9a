//! Elements, fields and variants, as serde asks for them.

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
    value::U32Deserializer,
};

use super::reader::Decoder;
use crate::{
    error::{Error, Trouble},
    numbers::Numbers,
    stack::Room,
    tag,
};

/// Elements, fields, or keys and values, up to an end.
pub(super) struct Elements<'a, 'de, E> {
    decoder: &'a mut Decoder<'de>,
    end: E,
    n_read: usize,
}

/// Where elements end.
pub(super) trait End: Copy {
    /// Whether there is none after so many.
    fn is_after(&mut self, n_read: usize, decoder: &mut Decoder<'_>) -> bool;

    /// How many there are, if that is known.
    fn len(&self) -> Option<usize>;

    /// Notes in which element it happened. By value: what is lent to a call cannot be kept in registers.
    fn locate(self, index: usize, e: Error) -> Error;
}

/// So many elements, with the names of those that have one.
#[derive(Clone, Copy)]
pub(super) struct Counted(pub(super) usize, pub(super) &'static [&'static str]);

impl End for Counted {
    #[inline]
    fn is_after(&mut self, n_read: usize, _decoder: &mut Decoder<'_>) -> bool {
        n_read >= self.0
    }

    fn len(&self) -> Option<usize> {
        Some(self.0)
    }

    #[cold]
    fn locate(self, index: usize, e: Error) -> Error {
        match self.1.get(index) {
            Some(name) => e.in_field(name),
            None => e.in_element(index),
        }
    }
}

/// The mark of the end; true once it has been read.
#[derive(Clone, Copy)]
pub(super) struct Marked(pub(super) bool);

impl End for Marked {
    #[inline]
    fn is_after(&mut self, _n_read: usize, decoder: &mut Decoder<'_>) -> bool {
        self.0 = self.0 || decoder.is_next(tag::END);
        self.0
    }

    fn len(&self) -> Option<usize> {
        None
    }

    #[cold]
    fn locate(self, index: usize, e: Error) -> Error {
        e.in_element(index)
    }
}

impl<'a, 'de, E: End> Elements<'a, 'de, E> {
    #[inline]
    pub(super) fn new(decoder: &'a mut Decoder<'de>, end: E) -> Self {
        Self { decoder, end, n_read: 0 }
    }

    /// Whether there is one more.
    #[inline]
    fn advance(&mut self) -> bool {
        let is_one = !self.end.is_after(self.n_read, self.decoder);
        self.n_read += usize::from(is_one);
        is_one
    }

    /// Notes that it happened in the last one.
    #[inline]
    fn locate(&self, e: Error) -> Error {
        self.end.locate(self.n_read.saturating_sub(1), e)
    }

    /// Sees to it that there is no more.
    #[inline]
    pub(super) fn finish(mut self) -> Result<(), Error> {
        if self.advance() { Err(too_many()) } else { Ok(()) }
    }
}

#[cold]
fn too_many() -> Error {
    Error::malformed("more elements came than the type takes")
}

impl<'de, E: End> SeqAccess<'de> for &mut Elements<'_, 'de, E> {
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
        Some(self.end.len()? - self.n_read)
    }
}

impl<'de, E: End> MapAccess<'de> for &mut Elements<'_, 'de, E> {
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
        Some(self.end.len()? - self.n_read)
    }
}

/// Fields by their names.
pub(super) struct Record<'e, 'a, 'de> {
    elements: &'e mut Elements<'a, 'de, Marked>,
    /// What begins with the last field's name.
    key: &'de [u8],
}

impl<'e, 'a, 'de> Record<'e, 'a, 'de> {
    pub(super) fn new(elements: &'e mut Elements<'a, 'de, Marked>) -> Self {
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

    /// Sees to it that there is no more.
    pub(super) fn finish(&self) -> Result<(), Error> {
        if self.numbers.len > 0 { Err(too_many()) } else { Ok(()) }
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
        self.decoder.number(self.tag)?.visit(visitor)
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
pub(super) struct Variant<'a, 'de, K> {
    decoder: &'a mut Decoder<'de>,
    key: K,
    is_read: bool,
}

/// What tells a variant from others: its name, or its index.
pub(super) trait Key<'de>: IntoDeserializer<'de, Error> + Copy {
    /// For errors.
    fn name(self) -> &'de str;
}

impl<'de> Key<'de> for &'de str {
    fn name(self) -> &'de str {
        self
    }
}

/// The index of a variant, and the names of all.
#[derive(Clone, Copy)]
pub(super) struct Index(pub(super) u32, pub(super) &'static [&'static str]);

impl<'de> Key<'de> for Index {
    fn name(self) -> &'de str {
        self.1.get(self.0 as usize).copied().unwrap_or("?")
    }
}

impl<'de> IntoDeserializer<'de, Error> for Index {
    type Deserializer = U32Deserializer<Error>;

    #[inline]
    fn into_deserializer(self) -> U32Deserializer<Error> {
        self.0.into_deserializer()
    }
}

impl<'a, 'de, K: Key<'de>> Variant<'a, 'de, K> {
    #[inline]
    pub(super) fn new(decoder: &'a mut Decoder<'de>, key: K) -> Self {
        Self { decoder, key, is_read: false }
    }

    #[inline]
    fn content<T>(self, read: impl FnOnce(&mut Decoder<'de>) -> Result<T, Error>) -> Result<T, Error> {
        read(self.decoder).map_err(|e| e.in_field(self.key.name()))
    }
}

impl<'de, K: Key<'de>> EnumAccess<'de> for Variant<'_, 'de, K> {
    type Error = Error;
    type Variant = Self;

    #[inline]
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        Ok((seed.deserialize(self.key.into_deserializer())?, self))
    }
}

impl<'de, K: Key<'de>> VariantAccess<'de> for Variant<'_, 'de, K> {
    type Error = Error;

    #[inline]
    fn unit_variant(self) -> Result<(), Error> {
        self.content(|decoder| de::Deserialize::deserialize(decoder))
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        self.content(|decoder| decoder.seed(seed))
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.content(|decoder| decoder.deserialize_tuple(len, visitor))
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.content(|decoder| decoder.deserialize_struct("", fields, visitor))
    }
}

/// For those who read it as a map.
impl<'de> MapAccess<'de> for Variant<'_, 'de, &'de str> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if self.is_read {
            return Ok(None);
        }
        self.is_read = true;
        let name: de::value::BorrowedStrDeserializer<'de, Error> = de::value::BorrowedStrDeserializer::new(self.key);
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        self.decoder.seed(seed).map_err(|e| e.in_field(self.key))
    }
}
