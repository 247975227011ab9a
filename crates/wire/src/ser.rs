//! Values to bytes.

mod compound;

use serde::{Serialize, Serializer};

pub(crate) use self::compound::{Compound, Fields};
use crate::{
    HANDLE,
    error::{Error, Stop, Trouble},
    known::{Known, Part},
    numbers,
    sink::Sink,
    stack::Room,
    tag::{self, LONG},
};

/// How structs and variants are written: a type, so that the usual one is compiled without the others.
pub(crate) trait Style {
    type Error: Trouble;

    /// With names.
    fn has_names(&self) -> bool;

    /// Finds out whether the reading side reads the same at this place, as far as it goes by position. The names of the
    /// part's fields, if they are to be compared.
    fn check(&mut self, part: &Part) -> Result<Option<&'static [&'static str]>, Self::Error>;
}

/// By position, if the reading side has been seen to read the same; else it ends with [`Error::needs_names`].
pub(crate) struct Compact<'a>(pub(crate) &'a Known);

impl Style for Compact<'_> {
    type Error = Stop;

    #[inline(always)]
    fn has_names(&self) -> bool {
        false
    }

    #[inline(always)]
    fn check(&mut self, part: &Part) -> Result<Option<&'static [&'static str]>, Stop> {
        if self.0.is_confirmed(part) { Ok(None) } else { Err(Stop::Indirect) }
    }
}

/// The ways that take a second look.
pub(crate) enum Careful<'a> {
    /// By position, if the reading side should read the same, to be tried with the value. Collects what it relies on.
    Trial(&'a Known, Vec<usize>),
    /// By position, whatever the reading side does.
    Positional,
    /// With names.
    Named,
}

impl Style for Careful<'_> {
    type Error = Error;

    fn has_names(&self) -> bool {
        matches!(self, Self::Named)
    }

    fn check(&mut self, part: &Part) -> Result<Option<&'static [&'static str]>, Error> {
        let Self::Trial(known, met) = self else { return Ok(None) };
        let at = known.find(part).ok_or_else(Error::needs_names)?;
        met.push(at);
        Ok(Some(known.names(at)))
    }
}

/// Writes one value, or some in a row, to a sink.
pub(crate) struct Encoder<'a, S, Y> {
    sink: &'a mut S,
    style: Y,
    room: Room,
    has_handles: bool,
    /// How many bytes were vectors of numbers.
    in_vectors: usize,
}

impl<S> Encoder<'_, S, Careful<'_>> {
    /// What a [`Careful::Trial`] relied on.
    pub(crate) fn into_met(self) -> Vec<usize> {
        if let Careful::Trial(_, met) = self.style { met } else { Vec::new() }
    }
}

impl<'a, S: Sink, Y: Style> Encoder<'a, S, Y> {
    #[inline]
    pub(crate) fn new(sink: &'a mut S, style: Y) -> Self {
        Self { sink, style, room: Room::here(), has_handles: false, in_vectors: 0 }
    }

    /// Whether one of the values so far was a handle.
    pub(crate) fn has_handles(&self) -> bool {
        self.has_handles
    }

    /// How many bytes so far were vectors of numbers.
    pub(crate) fn in_vectors(&self) -> usize {
        self.in_vectors
    }

    #[inline]
    fn has_names(&self) -> bool {
        self.style.has_names()
    }

    /// Writes a value: the only way by which values are written, so that each is asked whether it is numbers.
    #[inline(always)]
    pub(crate) fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Y::Error> {
        match numbers::of(value) {
            Some(numbers) => {
                self.sink.extend(&[tag::ARRAY, numbers.tag])?;
                self.len(numbers.len)?;
                self.in_vectors += numbers.bytes.len();
                Ok(self.sink.extend(numbers.bytes)?)
            }
            None => value.serialize(self),
        }
    }

    /// Writes what is inside another value.
    #[inline]
    fn inner<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Y::Error> {
        self.enter()?;
        self.value(value)
    }

    #[inline(always)]
    fn enter(&mut self) -> Result<(), Y::Error> {
        self.room.check().map_err(|_| Y::Error::too_deep())
    }

    #[inline]
    fn byte(&mut self, byte: u8) -> Result<(), Y::Error> {
        Ok(self.sink.push(byte)?)
    }

    #[inline]
    fn tagged<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) -> Result<(), Y::Error> {
        self.byte(tag)?;
        Ok(self.sink.extend(&bytes)?)
    }

    #[inline]
    fn len(&mut self, len: usize) -> Result<(), Y::Error> {
        match u8::try_from(len) {
            Ok(short) if short < LONG => self.byte(short),
            _ => self.tagged(LONG, (len as u64).to_ne_bytes()),
        }
    }

    /// A tag and a length. A short one goes with it in one piece: a sink looks for room each time.
    #[inline(always)]
    fn head(&mut self, tag: u8, len: usize) -> Result<(), Y::Error> {
        match u8::try_from(len) {
            Ok(short) if short < LONG => Ok(self.sink.extend(&[tag, short])?),
            _ => {
                self.byte(tag)?;
                self.len(len)
            }
        }
    }

    #[inline]
    fn bytes(&mut self, tag: u8, bytes: &[u8]) -> Result<(), Y::Error> {
        self.head(tag, bytes.len())?;
        Ok(self.sink.extend(bytes)?)
    }

    /// A name of the named form, which needs no tag.
    fn name(&mut self, name: &str) -> Result<(), Y::Error> {
        self.len(name.len())?;
        Ok(self.sink.extend(name.as_bytes())?)
    }

    /// Begins what has `len` elements; with names the length is not relied upon.
    #[inline(always)]
    fn counted(&mut self, len: Option<usize>, tags: (u8, u8)) -> Result<Compound<'_, 'a, S, Y>, Y::Error> {
        self.enter()?;
        let len = if self.has_names() { None } else { len };
        match len {
            Some(len) => self.head(tags.0, len)?,
            None => self.byte(tags.1)?,
        }
        Ok(Compound::new(self, len))
    }

    /// Begins the fields of a struct, or of a variant.
    #[inline(always)]
    fn fields(&mut self, part: Part, name: &str, len: usize) -> Result<Fields<'_, 'a, S, Y>, Y::Error> {
        let names = self.style.check(&part)?;
        self.enter()?;
        if self.has_names() {
            self.byte(tag::RECORD)?;
            self.name(name)?;
            return Ok(Fields::new(Compound::new(self, None), None));
        }
        self.head(tag::STRUCT, len)?;
        Ok(Fields::new(Compound::new(self, Some(len)), names))
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
                // At once, as in `head`.
                let mut bytes = [tag::$tag; 1 + size_of::<$type>()];
                bytes[1..].copy_from_slice(&v.to_ne_bytes());
                Ok(self.sink.extend(&bytes)?)
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
        self.inner(value)
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
        self.inner(value).map_err(|e| e.in_field(variant))
    }

    #[inline(always)]
    fn serialize_seq(self, len: Option<usize>) -> Result<Compound<'a, 'b, S, Y>, Y::Error> {
        self.counted(len, (tag::SEQ, tag::SEQ_OPEN))
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Compound<'a, 'b, S, Y>, Y::Error> {
        self.counted(len, (tag::MAP, tag::MAP_OPEN))
    }

    #[inline(always)]
    fn serialize_tuple(self, len: usize) -> Result<Compound<'a, 'b, S, Y>, Y::Error> {
        self.serialize_seq(Some(len))
    }

    #[inline(always)]
    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Compound<'a, 'b, S, Y>, Y::Error> {
        self.style.check(&Part::fields(name, len))?;
        self.serialize_seq(Some(len))
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
        self.serialize_seq(Some(len))
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
