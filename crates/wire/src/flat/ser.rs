//! Writes a value of a known shape.

use serde::{
    Serialize, Serializer,
    ser::{Impossible, SerializeStruct, SerializeTuple, SerializeTupleStruct},
};

use crate::{
    COMPARED, HANDLE,
    error::Stop,
    known::{Known, Part},
    shape::{Expected, Shape, Step},
    tag,
};

/// Writes one value. Any error means that it is not of the shape.
///
/// It goes by value from one part of a value to the next, so that it stays in registers in a `Serialize` that is not
/// inlined, too: what it writes to could be itself, for all that the compiler knows, if it lay in memory.
pub(super) struct Writer<'a> {
    known: &'a Known,
    place: &'a mut [u8],
    expected: Expected<'a>,
}

impl<'a> Writer<'a> {
    #[inline]
    pub(super) fn new(known: &'a Known, shape: &'a Shape, place: &'a mut [u8]) -> Self {
        Self { known, place, expected: Expected::new(shape) }
    }

    /// Whether all has been written.
    #[inline]
    pub(super) fn is_whole(&self) -> bool {
        self.expected.is_over()
    }

    #[inline(always)]
    fn step(&mut self, step: Step) -> Result<(), Stop> {
        if self.expected.is_next(step) { Ok(()) } else { Err(Stop::Indirect) }
    }

    #[inline(always)]
    fn leaf<const N: usize>(mut self, tag: u8, bytes: [u8; N]) -> Result<Self, Stop> {
        self.step(Step::leaf(tag))?;
        let (place, rest) = self.place.split_first_chunk_mut().ok_or(Stop::Full)?;
        *place = bytes;
        self.place = rest;
        Ok(self)
    }

    #[inline(always)]
    fn fields(&mut self, name: &'static str, len: usize) -> Result<&'static [&'static str], Stop> {
        self.step(Step::open(len))?;
        self.known.confirmed(&Part::fields(name, len)).ok_or(Stop::Indirect)
    }
}

macro_rules! numbers {
    ($($name:ident: $type:ty, $tag:ident;)*) => {
        $(
            #[inline(always)]
            fn $name(self, v: $type) -> Result<Self, Stop> {
                self.leaf(tag::$tag, v.to_ne_bytes())
            }
        )*
    };
}

impl<'a> Serializer for Writer<'a> {
    type Ok = Self;
    type Error = Stop;
    type SerializeSeq = Impossible<Self, Stop>;
    type SerializeMap = Impossible<Self, Stop>;
    type SerializeTuple = Elements<'a>;
    type SerializeTupleStruct = Elements<'a>;
    type SerializeTupleVariant = Impossible<Self, Stop>;
    type SerializeStruct = Fields<'a>;
    type SerializeStructVariant = Impossible<Self, Stop>;

    numbers!(
        serialize_i8: i8, I8; serialize_i16: i16, I16; serialize_i32: i32, I32; serialize_i64: i64, I64;
        serialize_i128: i128, I128; serialize_u8: u8, U8; serialize_u16: u16, U16; serialize_u32: u32, U32;
        serialize_u64: u64, U64; serialize_u128: u128, U128; serialize_f32: f32, F32; serialize_f64: f64, F64;
    );

    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline(always)]
    fn serialize_bool(self, v: bool) -> Result<Self, Stop> {
        self.leaf(tag::FALSE, [v.into()])
    }

    #[inline(always)]
    fn serialize_char(self, v: char) -> Result<Self, Stop> {
        self.leaf(tag::CHAR, u32::from(v).to_ne_bytes())
    }

    #[inline]
    fn serialize_unit(mut self) -> Result<Self, Stop> {
        self.step(Step::leaf(tag::UNIT))?;
        Ok(self)
    }

    #[inline]
    fn serialize_unit_struct(self, _name: &'static str) -> Result<Self, Stop> {
        self.serialize_unit()
    }

    #[inline(always)]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<Self, Stop> {
        if name == HANDLE || name == COMPARED { Err(Stop::Indirect) } else { value.serialize(self) }
    }

    #[inline(always)]
    fn serialize_tuple(mut self, len: usize) -> Result<Elements<'a>, Stop> {
        self.step(Step::open(len))?;
        Ok(Elements(Some(self)))
    }

    #[inline(always)]
    fn serialize_tuple_struct(mut self, name: &'static str, len: usize) -> Result<Elements<'a>, Stop> {
        self.fields(name, len)?;
        Ok(Elements(Some(self)))
    }

    #[inline(always)]
    fn serialize_struct(mut self, name: &'static str, len: usize) -> Result<Fields<'a>, Stop> {
        let names = self.fields(name, len)?.iter();
        Ok(Fields { elements: Elements(Some(self)), names })
    }

    fn serialize_str(self, _v: &str) -> Result<Self, Stop> {
        Err(Stop::Indirect)
    }

    fn serialize_bytes(self, _v: &[u8]) -> Result<Self, Stop> {
        Err(Stop::Indirect)
    }

    fn serialize_none(self) -> Result<Self, Stop> {
        Err(Stop::Indirect)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _value: &T) -> Result<Self, Stop> {
        Err(Stop::Indirect)
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, _variant: &'static str) -> Result<Self, Stop> {
        Err(Stop::Indirect)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<Self, Stop> {
        Err(Stop::Indirect)
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Impossible<Self, Stop>, Stop> {
        Err(Stop::Indirect)
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Impossible<Self, Stop>, Stop> {
        Err(Stop::Indirect)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Impossible<Self, Stop>, Stop> {
        Err(Stop::Indirect)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Impossible<Self, Stop>, Stop> {
        Err(Stop::Indirect)
    }
}

/// Elements to come.
pub(super) struct Elements<'a>(Option<Writer<'a>>);

impl<'a> Elements<'a> {
    #[inline(always)]
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
        // There is none after one that failed.
        self.0 = Some(value.serialize(self.0.take().ok_or(Stop::Indirect)?)?);
        Ok(())
    }

    #[inline(always)]
    fn finish(self) -> Result<Writer<'a>, Stop> {
        self.0.ok_or(Stop::Indirect)
    }
}

/// Fields to come, and the names that they have where they are read.
pub(super) struct Fields<'a> {
    elements: Elements<'a>,
    names: std::slice::Iter<'static, &'static str>,
}

macro_rules! elements {
    ($($trait:ident: $name:ident;)*) => {
        $(
            impl<'a> $trait for Elements<'a> {
                type Ok = Writer<'a>;
                type Error = Stop;

                #[inline(always)]
                fn $name<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
                    self.element(value)
                }

                #[inline(always)]
                fn end(self) -> Result<Writer<'a>, Stop> {
                    self.finish()
                }
            }
        )*
    };
}
elements!(
    SerializeTuple: serialize_element;
    SerializeTupleStruct: serialize_field;
);

impl<'a> SerializeStruct for Fields<'a> {
    type Ok = Writer<'a>;
    type Error = Stop;

    #[inline(always)]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Stop> {
        if self.names.next() != Some(&key) {
            return Err(Stop::Indirect);
        }
        self.elements.element(value)
    }

    fn skip_field(&mut self, _key: &'static str) -> Result<(), Stop> {
        Err(Stop::Indirect)
    }

    #[inline(always)]
    fn end(self) -> Result<Writer<'a>, Stop> {
        self.elements.finish()
    }
}
