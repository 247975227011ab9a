//! Writes a value of a known shape.

use serde::{
    Serialize, Serializer,
    ser::{Impossible, SerializeStruct, SerializeTuple, SerializeTupleStruct},
};

use crate::{
    COMPARED, HANDLE,
    error::Stop,
    name_hash::NameHash,
    shape::{Shape, Step, Trail},
    tag,
};

/// Writes one value. Any error means that it is not of the shape.
pub(super) struct Writer<'a> {
    place: &'a mut [u8],
    /// How many bytes have been written.
    len: u32,
    trail: Trail,
    /// Those of its structs and their fields.
    names: NameHash,
}

impl<'a> Writer<'a> {
    #[inline(always)]
    pub(super) fn new(place: &'a mut [u8]) -> Self {
        Self { place, len: 0, trail: Trail::new(), names: NameHash::new() }
    }

    /// Whether all has been written that values of the shape consist of, and nothing else, by the names by which it is read.
    #[inline(always)]
    pub(super) fn has_written(&self, shape: &Shape) -> bool {
        self.trail.is(&shape.trail) & (self.names == shape.names)
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
        // By an index: a slice to be cut is stored twice for each number. If the place ends before it, there are other numbers
        // than in the shape, which shows at the end.
        let begin = self.len as usize;
        if let Some(place) = self.place.get_mut(begin..begin.wrapping_add(N)) {
            place.copy_from_slice(&bytes);
        }
        self.len = self.len.wrapping_add(N as u32);
        Ok(())
    }

    #[inline(always)]
    fn open(&mut self, len: usize) -> ElementWriter<'_, 'a> {
        self.trail.push(Step::open(len));
        let inner = Self { place: std::mem::take(&mut self.place), ..*self };
        self.trail.lose();
        ElementWriter { outer: self, inner }
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
    type SerializeStruct = ElementWriter<'w, 'a>;
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
        Ok(self.open(len))
    }

    #[inline(always)]
    fn serialize_tuple_struct(self, _name: &'static str, len: usize) -> Result<ElementWriter<'w, 'a>, Stop> {
        Ok(self.open(len))
    }

    #[inline(always)]
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<ElementWriter<'w, 'a>, Stop> {
        self.names.push(name);
        Ok(self.open(len))
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

/// Elements or fields to come. How many come shows at the end, in what comes after them.
///
/// The writer is moved in here and back at the end: so it is a local variable of a `serialize`, in registers, where it would be stored and
/// read again for each number behind a reference.
pub(super) struct ElementWriter<'w, 'a> {
    outer: &'w mut Writer<'a>,
    inner: Writer<'a>,
}

macro_rules! elements {
    ($($trait:ident: $name:ident;)*) => {
        $(
            impl $trait for ElementWriter<'_, '_> {
                type Ok = ();
                type Error = Stop;

                #[inline(always)]
                fn $name<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
                    value.serialize(&mut self.inner)
                }

                #[inline(always)]
                fn end(self) -> Result<(), Stop> {
                    *self.outer = self.inner;
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

impl SerializeStruct for ElementWriter<'_, '_> {
    type Ok = ();
    type Error = Stop;

    #[inline(always)]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Stop> {
        self.inner.names.push(key);
        value.serialize(&mut self.inner)
    }

    fn skip_field(&mut self, _key: &'static str) -> Result<(), Stop> {
        Err(self.inner.refuse())
    }

    #[inline(always)]
    fn end(self) -> Result<(), Stop> {
        *self.outer = self.inner;
        Ok(())
    }
}
