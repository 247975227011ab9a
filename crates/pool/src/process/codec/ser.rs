use serde::{
    Serialize,
    ser::{self, Error as _},
};

use super::{Error, LONG};

pub(super) struct Encoder<'a> {
    pub(super) bytes: &'a mut Vec<u8>,
}

impl Encoder<'_> {
    #[inline]
    fn len(&mut self, len: u64) {
        match u8::try_from(len) {
            Ok(short) if short < LONG => self.bytes.push(short),
            _ => {
                self.bytes.push(LONG);
                self.bytes.extend_from_slice(&len.to_le_bytes());
            }
        }
    }

    #[inline]
    fn counted(&mut self, len: Option<usize>) -> Result<Counted<'_>, Error> {
        let len = len.ok_or_else(|| Error::custom("a sequence must know its length"))?;
        self.len(len as u64);
        let least = self.bytes.len() + len;
        Ok(Counted { bytes: self.bytes, left: len, least })
    }
}

macro_rules! numbers {
    ($($name:ident: $type:ty),*) => {
        $(
            #[inline]
            fn $name(self, v: $type) -> Result<(), Error> {
                self.bytes.extend_from_slice(&v.to_le_bytes());
                Ok(())
            }
        )*
    };
}

impl<'a, 'b> ser::Serializer for &'a mut Encoder<'b> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Counted<'a>;
    type SerializeMap = Counted<'a>;
    type SerializeTuple = Fields<'a>;
    type SerializeTupleStruct = Fields<'a>;
    type SerializeTupleVariant = Fields<'a>;
    type SerializeStruct = Fields<'a>;
    type SerializeStructVariant = Fields<'a>;

    numbers!(
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128,
        serialize_f32: f32, serialize_f64: f64
    );

    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn serialize_bool(self, v: bool) -> Result<(), Error> {
        self.serialize_u8(v.into())
    }

    #[inline]
    fn serialize_char(self, v: char) -> Result<(), Error> {
        self.serialize_u32(v.into())
    }

    #[inline]
    fn serialize_str(self, v: &str) -> Result<(), Error> {
        self.serialize_bytes(v.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, v: &[u8]) -> Result<(), Error> {
        self.len(v.len() as u64);
        self.bytes.extend_from_slice(v);
        Ok(())
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_u8(0)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.bytes.push(1);
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Error> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Error> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(self, _name: &'static str, index: u32, _variant: &'static str) -> Result<(), Error> {
        self.len(index.into());
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.len(index.into());
        value.serialize(self)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Counted<'a>, Error> {
        self.counted(len)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Counted<'a>, Error> {
        self.counted(len)
    }

    fn serialize_tuple(self, _len: usize) -> Result<Fields<'a>, Error> {
        Ok(Fields { bytes: self.bytes })
    }

    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Fields<'a>, Error> {
        Ok(Fields { bytes: self.bytes })
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Fields<'a>, Error> {
        Ok(Fields { bytes: self.bytes })
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Fields<'a>, Error> {
        self.len(index.into());
        Ok(Fields { bytes: self.bytes })
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Fields<'a>, Error> {
        self.len(index.into());
        Ok(Fields { bytes: self.bytes })
    }
}

/// A sequence or a map, whose length was written before it.
pub(super) struct Counted<'a> {
    bytes: &'a mut Vec<u8>,
    /// Elements to come.
    left: usize,
    /// Where it ends at the earliest.
    least: usize,
}

impl Counted<'_> {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.left = self.left.checked_sub(1).ok_or_else(|| Error::custom("a sequence is longer than it said"))?;
        value.serialize(&mut Encoder { bytes: self.bytes })
    }

    #[inline]
    fn finish(self) -> Result<(), Error> {
        if self.left > 0 {
            return Err(Error::custom("a sequence is shorter than it said"));
        }
        if self.bytes.len() < self.least {
            self.bytes.resize(self.least, 0);
        }
        Ok(())
    }
}

impl ser::SerializeSeq for Counted<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.element(value)
    }

    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}

impl ser::SerializeMap for Counted<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.element(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(&mut Encoder { bytes: self.bytes })
    }

    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}

/// Values whose number both sides know.
pub(super) struct Fields<'a> {
    bytes: &'a mut Vec<u8>,
}

macro_rules! fields {
    ($($trait:ident, $method:ident $(, $key:ident)?;)*) => {
        $(
            impl ser::$trait for Fields<'_> {
                type Ok = ();
                type Error = Error;

                fn $method<T: Serialize + ?Sized>(&mut self, $($key: &'static str,)? value: &T) -> Result<(), Error> {
                    value.serialize(&mut Encoder { bytes: self.bytes })
                }

                fn end(self) -> Result<(), Error> {
                    Ok(())
                }
            }
        )*
    };
}
fields!(
    SerializeTuple, serialize_element;
    SerializeTupleStruct, serialize_field;
    SerializeTupleVariant, serialize_field;
    SerializeStruct, serialize_field, _key;
    SerializeStructVariant, serialize_field, _key;
);
