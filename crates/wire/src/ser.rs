//! Values to bytes.

mod compound;
mod encoder;

use serde::{Serialize, Serializer};

use self::encoder::SOME;
pub(crate) use self::{
    compound::{Compound, Fields},
    encoder::{Careful, Compact, Encoder, Style},
};
use crate::{COMPARED, HANDLE, error::Trouble, known::Part, sink::Sink, sites::Site, tag};

impl<'a, S: Sink, Y: Style> Encoder<'a, S, Y> {
    /// Begins what has `len` elements; with names the length is not relied upon.
    #[inline(always)]
    fn counted(&mut self, len: Option<usize>, tags: (u8, u8), site: Site) -> Result<Compound<'_, 'a, S, Y>, Y::Error> {
        self.enter()?;
        let len = if self.has_names() { None } else { len };
        match len {
            Some(len) => self.head(tags.0, len)?,
            None => self.byte(tags.1)?,
        }
        Ok(Compound::new(self, len, site))
    }

    /// Begins the fields of a struct, or of a variant.
    #[inline(always)]
    fn fields(&mut self, part: Part, name: &'static str, len: usize) -> Result<Fields<'_, 'a, S, Y>, Y::Error> {
        let names = self.style.check(&part)?;
        let site = Site::named(name, len);
        self.enter()?;
        if self.has_names() {
            self.byte(tag::RECORD)?;
            self.name(name)?;
            return Ok(Fields::new(Compound::new(self, None, site), None));
        }
        self.head(tag::STRUCT, len)?;
        Ok(Fields::new(Compound::new(self, Some(len), site), names))
    }

    /// Begins a variant that has content.
    #[inline(always)]
    fn variant(&mut self, name: &'static str, index: u32, variant: &'static str) -> Result<(), Y::Error> {
        self.style.check(&Part::variant(name, index, variant))?;
        if self.has_names() {
            self.byte(tag::NAMED_VARIANT)?;
            return self.name(variant);
        }
        self.head(tag::VARIANT, index as usize)
    }
}

macro_rules! numbers {
    ($($name:ident: $type:ty, $tag:ident;)*) => {
        $(
            #[inline]
            fn $name(self, v: $type) -> Result<(), Y::Error> {
                self.tagged(tag::$tag, v.to_ne_bytes())
            }
        )*
    };
}

impl<'a, 'b, S: Sink, Y: Style> Serializer for &'a mut Encoder<'b, S, Y> {
    type Ok = ();
    type Error = Y::Error;
    type SerializeSeq = Compound<'a, 'b, S, Y>;
    type SerializeMap = Compound<'a, 'b, S, Y>;
    type SerializeTuple = Compound<'a, 'b, S, Y>;
    type SerializeTupleStruct = Compound<'a, 'b, S, Y>;
    type SerializeTupleVariant = Compound<'a, 'b, S, Y>;
    type SerializeStruct = Fields<'a, 'b, S, Y>;
    type SerializeStructVariant = Fields<'a, 'b, S, Y>;

    numbers!(
        serialize_i8: i8, I8; serialize_i16: i16, I16; serialize_i32: i32, I32; serialize_i64: i64, I64;
        serialize_i128: i128, I128; serialize_u16: u16, U16; serialize_u32: u32, U32; serialize_u64: u64, U64;
        serialize_u128: u128, U128; serialize_f32: f32, F32; serialize_f64: f64, F64;
    );

    /// The named form is: serde buffers what it must look at twice (an untagged enum, say), and takes the buffer for
    /// text.
    #[inline]
    fn is_human_readable(&self) -> bool {
        self.has_names()
    }

    #[inline]
    fn serialize_u8(self, v: u8) -> Result<(), Y::Error> {
        if v < tag::SMALL { self.byte(v + tag::SMALL) } else { self.tagged(tag::U8, [v]) }
    }

    #[inline]
    fn serialize_bool(self, v: bool) -> Result<(), Y::Error> {
        self.byte(if v { tag::TRUE } else { tag::FALSE })
    }

    #[inline]
    fn serialize_char(self, v: char) -> Result<(), Y::Error> {
        self.tagged(tag::CHAR, u32::from(v).to_ne_bytes())
    }

    #[inline]
    fn serialize_str(self, v: &str) -> Result<(), Y::Error> {
        self.bytes(tag::STR, v.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, v: &[u8]) -> Result<(), Y::Error> {
        self.bytes(tag::BYTES, v)
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Y::Error> {
        self.byte(tag::NONE)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Y::Error> {
        self.byte(tag::SOME)?;
        let site = self.site.inside(SOME);
        self.content(site, value)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Y::Error> {
        self.byte(tag::UNIT)
    }

    #[inline]
    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Y::Error> {
        self.byte(tag::UNIT)
    }

    #[inline(always)]
    fn serialize_unit_variant(self, name: &'static str, index: u32, variant: &'static str) -> Result<(), Y::Error> {
        self.style.check(&Part::variant(name, index, variant))?;
        if self.has_names() {
            return self.serialize_str(variant);
        }
        self.head(tag::UNIT_VARIANT, index as usize)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), Y::Error> {
        self.has_handles |= name == HANDLE;
        self.is_compared |= name == COMPARED;
        self.site = Site::named(name, 1);
        self.inner(value)
    }

    #[inline(always)]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Y::Error> {
        self.variant(name, index, variant)?;
        self.content(Site::named(variant, index as usize), value).map_err(|e| e.in_field(variant))
    }

    #[inline(always)]
    fn serialize_seq(self, len: Option<usize>) -> Result<Compound<'a, 'b, S, Y>, Y::Error> {
        let site = self.site;
        self.counted(len, (tag::SEQ, tag::SEQ_OPEN), site)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Compound<'a, 'b, S, Y>, Y::Error> {
        let site = self.site;
        self.counted(len, (tag::MAP, tag::MAP_OPEN), site)
    }

    #[inline(always)]
    fn serialize_tuple(self, len: usize) -> Result<Compound<'a, 'b, S, Y>, Y::Error> {
        self.serialize_seq(Some(len))
    }

    #[inline(always)]
    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Compound<'a, 'b, S, Y>, Y::Error> {
        self.style.check(&Part::fields(name, len))?;
        self.counted(Some(len), (tag::SEQ, tag::SEQ_OPEN), Site::named(name, len))
    }

    #[inline(always)]
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Compound<'a, 'b, S, Y>, Y::Error> {
        self.variant(name, index, variant)?;
        self.style.check(&Part::variant_fields(name, variant, len))?;
        self.counted(Some(len), (tag::SEQ, tag::SEQ_OPEN), Site::named(variant, len))
    }

    #[inline(always)]
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Fields<'a, 'b, S, Y>, Y::Error> {
        self.fields(Part::fields(name, len), name, len)
    }

    #[inline(always)]
    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Fields<'a, 'b, S, Y>, Y::Error> {
        self.variant(name, index, variant)?;
        self.fields(Part::variant_fields(name, variant, len), variant, len)
    }
}
