//! Bytes to values.

mod access;
mod reader;

use serde::de::{self, IntoDeserializer, Visitor};

pub(crate) use self::reader::Decoder;
use self::{
    access::{Counted, Elements, End, Index, Marked, NumberAccess, Record, Variant},
    reader::unexpected,
};
use crate::{
    COMPARED, HANDLE,
    error::Error,
    numbers,
    tag::{self, LONG, SMALL},
};

impl<'de> Decoder<'de> {
    /// Begins elements: `finish` is to be called after them.
    #[inline]
    fn elements<E: End>(&mut self, end: E) -> Result<Elements<'_, 'de, E>, Error> {
        self.enter()?;
        Ok(Elements::new(self, end))
    }

    /// Reads elements of a sequence, and sees to it that none is left.
    #[inline]
    fn visit_seq<V: Visitor<'de>, E: End>(&mut self, end: E, visitor: V) -> Result<V::Value, Error> {
        let mut elements = self.elements(end)?;
        let value = visitor.visit_seq(&mut elements)?;
        elements.finish()?;
        Ok(value)
    }

    /// The same of a map's entries.
    #[inline]
    fn visit_map<V: Visitor<'de>, E: End>(&mut self, end: E, visitor: V) -> Result<V::Value, Error> {
        let mut entries = self.elements(end)?;
        let value = visitor.visit_map(&mut entries)?;
        entries.finish()?;
        Ok(value)
    }

    #[inline]
    fn sequence<V: Visitor<'de>>(&mut self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.visit_seq(Counted(len, &[]), visitor)
    }

    /// The fields of a struct, which go by position.
    #[inline]
    fn fields<V: Visitor<'de>>(&mut self, names: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.visit_seq(Counted(names.len(), names), visitor)
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
            tag::SOME => {
                self.enter()?;
                visitor.visit_some(self)
            }
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
                    None => {
                        let mut numbers = NumberAccess::new(numbers);
                        let value = visitor.visit_seq(&mut numbers)?;
                        numbers.finish()?;
                        Ok(value)
                    }
                }
            }
            tag::SEQ => {
                let len = self.len(1)?;
                self.sequence(len, visitor)
            }
            tag::SEQ_OPEN => self.visit_seq(Marked(false), visitor),
            tag::MAP => {
                let len = self.len(2)?;
                self.visit_map(Counted(len, &[]), visitor)
            }
            tag::MAP_OPEN => self.visit_map(Marked(false), visitor),
            tag::STRUCT => {
                let len = self.len(1)?;
                self.sequence(len, visitor)
            }
            tag::RECORD => {
                self.slice()?;
                let mut fields = self.elements(Marked(false))?;
                let value = visitor.visit_map(Record::new(&mut fields))?;
                fields.finish()?;
                Ok(value)
            }
            // As in JSON: a map with one entry.
            tag::NAMED_VARIANT => {
                let name = self.str()?;
                self.enter()?;
                visitor.visit_map(Variant::new(self, name))
            }
            tag => self.number(tag)?.visit(visitor),
        }
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
        // As in JSON, where bytes are a sequence of numbers.
        if self.is_next(tag::BYTES) {
            let mut bytes = de::value::SeqDeserializer::<_, Error>::new(self.slice()?.iter().copied());
            let value = visitor.visit_seq(&mut bytes)?;
            bytes.end()?;
            return Ok(value);
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
                self.enter()?;
                visitor.visit_some(self)
            }
            _ => {
                self.enter()?;
                visitor.visit_some(self)
            }
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
        self.enter()?;
        visitor.visit_newtype_struct(self)
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
                self.enter()?;
                visitor.visit_enum(Variant::new(self, Index(index, variants)))
            }
            tag::STR => visitor.visit_enum(self.str()?.into_deserializer()),
            tag::NAMED_VARIANT => {
                let name = self.str()?;
                self.enter()?;
                visitor.visit_enum(Variant::new(self, name))
            }
            // What was written by hand: a map with one entry, as JSON has it.
            tag::MAP if self.len(2)? == 1 => {
                let name = self.name()?;
                self.enter()?;
                visitor.visit_enum(Variant::new(self, name))
            }
            tag::MAP_OPEN => {
                let name = self.name()?;
                self.enter()?;
                let value = visitor.visit_enum(Variant::new(self, name))?;
                if self.is_next(tag::END) { Ok(value) } else { Err(Error::malformed("more than one variant came")) }
            }
            tag => Err(unexpected("an enum's variant", tag)),
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
    name.starts_with('$') && name != HANDLE && name != COMPARED
}
