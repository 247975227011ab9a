//! Writes a value of a known shape.

use serde::{
    Serialize, Serializer,
    ser::{Impossible, SerializeStruct, SerializeTuple, SerializeTupleStruct},
};

use crate::{
    COMPARED, HANDLE,
    error::Stop,
    known::{Known, Part},
    shape::{Shape, Step, Trail},
    tag,
};

/// Writes one value. Any error means that it is not of the shape.
pub(super) struct Writer<'a> {
    known: &'a Known,
    place: &'a mut [u8],
    /// How many bytes have been written.
    len: usize,
    trail: Trail,
    /// How many structs have begun.
    n_structs: usize,
}

impl<'a> Writer<'a> {
    #[inline(always)]
    pub(super) fn new(known: &'a Known, place: &'a mut [u8]) -> Self {
        Self { known, place, len: 0, trail: Trail::new(), n_structs: 0 }
    }

    /// Whether all has been written that values of the shape consist of, and nothing else.
    #[inline(always)]
    pub(super) fn has_written(&self, shape: &Shape) -> bool {
        self.trail.is(&shape.trail)
    }

    /// Refuses something for good: a `Serialize` may write something else in its place. Inlined: what
    /// is lent to a call cannot be kept in registers.
    #[inline(always)]
    fn refuse(&mut self) -> Stop {
        self.trail.lose();
        Stop::Indirect
    }

    #[inline(always)]
    fn leaf<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) -> Result<(), Stop> {
        self.trail.push(Step::leaf(tag));
        // By an index: a slice to be cut is stored twice for each number.
        match self.place.get_mut(self.len..).and_then(|rest| rest.first_chunk_mut()) {
            Some(place) => *place = bytes,
            None => return Err(self.refuse()),
        }
        self.len += N;
        Ok(())
    }

    #[inline(always)]
    fn fields(&mut self, name: &'static str, len: usize) -> Result<&'static [&'static str], Stop> {
        self.trail.push(Step::open(len));
        let part = Part::fields(name, len);
        let Some(names) = self.known.confirmed_at(self.n_structs, &part) else { return Err(self.refuse()) };
        self.n_structs += 1;
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

impl<'w, 'a> Serializer for &'w mut Writer<'a> {
    type Ok = ();
    type Error = Stop;
    type SerializeSeq = Impossible<(), Stop>;
    type SerializeMap = Impossible<(), Stop>;
    type SerializeTuple = ElementWriter<'w, 'a>;
    type SerializeTupleStruct = ElementWriter<'w, 'a>;
    type SerializeTupleVariant = Impossible<(), Stop>;
    type SerializeStruct = FieldWriter<'w, 'a>;
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
        self.trail.push(Step::leaf(tag::UNIT));
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Stop> {
        self.serialize_unit()
    }

    #[inline(always)]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), Stop> {
        if name == HANDLE || name == COMPARED { Err(self.refuse()) } else { value.serialize(self) }
    }

    #[inline(always)]
    fn serialize_tuple(self, len: usize) -> Result<ElementWriter<'w, 'a>, Stop> {
        self.trail.push(Step::open(len));
        Ok(ElementWriter(self))
    }

    #[inline(always)]
    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<ElementWriter<'w, 'a>, Stop> {
        self.fields(name, len)?;
        Ok(ElementWriter(self))
    }

    #[inline(always)]
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<FieldWriter<'w, 'a>, Stop> {
        let names = self.fields(name, len)?.iter();
        Ok(FieldWriter { writer: self, names })
    }

    fn serialize_str(self, _v: &str) -> Result<(), Stop> {
        Err(self.refuse())
    }

    fn serialize_bytes(self, _v: &[u8]) -> Result<(), Stop> {
        Err(self.refuse())
    }

    fn serialize_none(self) -> Result<(), Stop> {
        Err(self.refuse())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _value: &T) -> Result<(), Stop> {
        Err(self.refuse())
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, _variant: &'static str) -> Result<(), Stop> {
        Err(self.refuse())
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<(), Stop> {
        Err(self.refuse())
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Impossible<(), Stop>, Stop> {
        Err(self.refuse())
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Impossible<(), Stop>, Stop> {
        Err(self.refuse())
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Impossible<(), Stop>, Stop> {
        Err(self.refuse())
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Impossible<(), Stop>, Stop> {
        Err(self.refuse())
    }
}

/// Elements to come. How many come shows at the end, in what comes after them.
pub(super) struct ElementWriter<'w, 'a>(&'w mut Writer<'a>);

/// Fields to come, and the names that they have where they are read.
pub(super) struct FieldWriter<'w, 'a> {
    writer: &'w mut Writer<'a>,
    names: std::slice::Iter<'static, &'static str>,
}

macro_rules! elements {
    ($($trait:ident: $name:ident;)*) => {
        $(
            impl $trait for ElementWriter<'_, '_> {
                type Ok = ();
                type Error = Stop;

                #[inline(always)]
                fn $name<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
                    value.serialize(&mut *self.0)
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

impl SerializeStruct for FieldWriter<'_, '_> {
    type Ok = ();
    type Error = Stop;

    #[inline(always)]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Stop> {
        if self.names.next() != Some(&key) {
            return Err(self.writer.refuse());
        }
        value.serialize(&mut *self.writer)
    }

    fn skip_field(&mut self, _key: &'static str) -> Result<(), Stop> {
        Err(self.writer.refuse())
    }

    #[inline(always)]
    fn end(self) -> Result<(), Stop> {
        Ok(())
    }
}
