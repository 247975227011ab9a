//! Writes a value of a known shape.

use serde::{
    Serialize, Serializer,
    ser::{Impossible, SerializeStruct, SerializeTuple, SerializeTupleStruct},
};

use crate::{
    HANDLE,
    error::Stop,
    known::{Known, Part},
    shape::Steps,
    tag,
};

/// Writes one value. Any error means that it is not of the shape.
pub(super) struct Writer<'a> {
    known: &'a Known,
    place: &'a mut [u8],
    steps: Steps,
}

impl<'a> Writer<'a> {
    #[inline]
    pub(super) fn new(known: &'a Known, place: &'a mut [u8]) -> Self {
        Self { known, place, steps: Steps::default() }
    }

    /// What has been written.
    #[inline]
    pub(super) fn steps(&self) -> Steps {
        self.steps
    }

    #[inline(always)]
    fn leaf<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) -> Result<(), Stop> {
        self.steps.leaf(tag);
        let (place, rest) = std::mem::take(&mut self.place).split_first_chunk_mut().ok_or(Stop::Full)?;
        *place = bytes;
        self.place = rest;
        Ok(())
    }

    #[inline(always)]
    fn fields(&mut self, name: &'static str, len: usize) -> Result<&'static [&'static str], Stop> {
        let names = self.known.confirmed(&Part::fields(name, len)).ok_or(Stop::Indirect)?;
        self.steps.open(len);
        Ok(names)
    }
}

macro_rules! numbers {
    ($($name:ident: $type:ty, $tag:ident;)*) => {
        $(
            #[inline(always)]
            fn $name(self, v: $type) -> Result<(), Stop> {
                self.leaf(tag::$tag, v.to_ne_bytes())
            }
        )*
    };
}

/// Fields to come, and the names that they have where they are read.
pub(super) struct Fields<'a, 'b> {
    writer: &'a mut Writer<'b>,
    names: std::slice::Iter<'static, &'static str>,
}

impl<'a, 'b> Serializer for &'a mut Writer<'b> {
    type Ok = ();
    type Error = Stop;
    type SerializeSeq = Impossible<(), Stop>;
    type SerializeMap = Impossible<(), Stop>;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Impossible<(), Stop>;
    type SerializeStruct = Fields<'a, 'b>;
    type SerializeStructVariant = Impossible<(), Stop>;

    numbers!(
        serialize_i8: i8, I8; serialize_i16: i16, I16; serialize_i32: i32, I32; serialize_i64: i64, I64;
        serialize_i128: i128, I128; serialize_u8: u8, U8; serialize_u16: u16, U16; serialize_u32: u32, U32;
        serialize_u64: u64, U64; serialize_u128: u128, U128; serialize_f32: f32, F32; serialize_f64: f64, F64;
    );

    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline(always)]
    fn serialize_bool(self, v: bool) -> Result<(), Stop> {
        self.leaf(tag::FALSE, [v.into()])
    }

    #[inline(always)]
    fn serialize_char(self, v: char) -> Result<(), Stop> {
        self.leaf(tag::CHAR, u32::from(v).to_ne_bytes())
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Stop> {
        self.steps.leaf(tag::UNIT);
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Stop> {
        self.serialize_unit()
    }

    #[inline(always)]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), Stop> {
        if name == HANDLE { Err(Stop::Indirect) } else { value.serialize(self) }
    }

    #[inline(always)]
    fn serialize_tuple(self, len: usize) -> Result<Self, Stop> {
        self.steps.open(len);
        Ok(self)
    }

    #[inline(always)]
    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Self, Stop> {
        self.fields(name, len)?;
        Ok(self)
    }

    #[inline(always)]
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Fields<'a, 'b>, Stop> {
        let names = self.fields(name, len)?.iter();
        Ok(Fields { writer: self, names })
    }

    fn serialize_str(self, _v: &str) -> Result<(), Stop> {
        Err(Stop::Indirect)
    }

    fn serialize_bytes(self, _v: &[u8]) -> Result<(), Stop> {
        Err(Stop::Indirect)
    }

    fn serialize_none(self) -> Result<(), Stop> {
        Err(Stop::Indirect)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _value: &T) -> Result<(), Stop> {
        Err(Stop::Indirect)
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, _variant: &'static str) -> Result<(), Stop> {
        Err(Stop::Indirect)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<(), Stop> {
        Err(Stop::Indirect)
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Impossible<(), Stop>, Stop> {
        Err(Stop::Indirect)
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Impossible<(), Stop>, Stop> {
        Err(Stop::Indirect)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Impossible<(), Stop>, Stop> {
        Err(Stop::Indirect)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Impossible<(), Stop>, Stop> {
        Err(Stop::Indirect)
    }
}

macro_rules! elements {
    ($($trait:ident: $name:ident;)*) => {
        $(
            impl $trait for &mut Writer<'_> {
                type Ok = ();
                type Error = Stop;

                #[inline(always)]
                fn $name<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
                    value.serialize(&mut **self)
                }

                #[inline(always)]
                fn end(self) -> Result<(), Stop> {
                    Ok(())
                }
            }
        )*
    };
}
elements!(
    SerializeTuple: serialize_element;
    SerializeTupleStruct: serialize_field;
);

impl SerializeStruct for Fields<'_, '_> {
    type Ok = ();
    type Error = Stop;

    #[inline(always)]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Stop> {
        if self.names.next() != Some(&key) {
            return Err(Stop::Indirect);
        }
        value.serialize(&mut *self.writer)
    }

    fn skip_field(&mut self, _key: &'static str) -> Result<(), Stop> {
        Err(Stop::Indirect)
    }

    #[inline(always)]
    fn end(self) -> Result<(), Stop> {
        Ok(())
    }
}
