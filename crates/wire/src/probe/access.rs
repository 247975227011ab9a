//! Made-up elements, entries and variants.

use std::slice;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
    value::U32Deserializer,
};

use super::state::{Probe, State, seed};
use crate::{error::Error, known::Part};

/// Some elements or entries.
pub(super) struct Row<'a> {
    pub(super) state: &'a mut State,
    pub(super) left: usize,
    /// Of a struct's fields.
    pub(super) names: slice::Iter<'static, &'static str>,
}

impl Row<'_> {
    fn advance(&mut self) -> bool {
        if let Some(name) = self.names.next() {
            self.state.name(name);
        }
        let is_one = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_one
    }
}

impl<'de> SeqAccess<'de> for Row<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, element: T) -> Result<Option<T::Value>, Error> {
        if self.advance() { seed(element, self.state).map(Some) } else { Ok(None) }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for Row<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, key: K) -> Result<Option<K::Value>, Error> {
        if self.advance() { seed(key, self.state).map(Some) } else { Ok(None) }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, value: V) -> Result<V::Value, Error> {
        seed(value, self.state)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// The variant that it is this time.
pub(super) struct Chosen<'a> {
    pub(super) state: &'a mut State,
    pub(super) name: &'static str,
    pub(super) variant: &'static str,
    pub(super) index: u32,
}

impl<'de> EnumAccess<'de> for Chosen<'_> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, variant: V) -> Result<(V::Value, Self), Error> {
        let index: U32Deserializer<Error> = self.index.into_deserializer();
        Ok((variant.deserialize(index)?, self))
    }
}

impl<'de> VariantAccess<'de> for Chosen<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, content: T) -> Result<T::Value, Error> {
        seed(content, self.state)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.state.know(Part::variant_fields(self.name, self.variant, len), &[]);
        Probe { state: self.state }.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.state.know(Part::variant_fields(self.name, self.variant, fields.len()), fields);
        Probe { state: self.state }.deserialize_tuple(fields.len(), visitor)
    }
}
