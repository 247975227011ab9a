//! What has elements or fields.

use serde::{
    Serialize,
    ser::{
        SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
        SerializeTupleVariant,
    },
};

use super::Encoder;
use crate::{error::Error, sink::Sink, tag};

/// Elements to come, or keys and values.
pub(crate) struct Compound<'a, 'b, S> {
    encoder: &'a mut Encoder<'b, S>,
    /// How many were announced, unless their end is marked.
    announced: Option<usize>,
    n_written: usize,
}

impl<'a, 'b, S: Sink> Compound<'a, 'b, S> {
    #[inline]
    pub(super) fn new(encoder: &'a mut Encoder<'b, S>, announced: Option<usize>) -> Self {
        Self { encoder, announced, n_written: 0 }
    }

    #[inline]
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let index = self.n_written;
        self.n_written += 1;
        self.encoder.value(value).map_err(|e| e.in_element(index))
    }

    #[inline]
    fn finish(self) -> Result<(), Error> {
        match self.announced {
            None => self.encoder.byte(tag::END),
            Some(announced) if announced == self.n_written => Ok(()),
            // With names nobody relies on what was announced.
            Some(_) => Err(Error::needs_names()),
        }
    }
}

/// Fields to come.
pub(crate) struct Fields<'a, 'b, S> {
    fields: Compound<'a, 'b, S>,
    /// Their names where they are read, if these are to be compared.
    names: Option<&'static [&'static str]>,
}

impl<'a, 'b, S: Sink> Fields<'a, 'b, S> {
    #[inline]
    pub(super) fn new(fields: Compound<'a, 'b, S>, names: Option<&'static [&'static str]>) -> Self {
        Self { fields, names }
    }

    #[inline]
    fn field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Error> {
        if self.names.is_some_and(|names| names.get(self.fields.n_written) != Some(&key)) {
            return Err(Error::needs_names());
        }
        if self.fields.announced.is_none() {
            self.fields.encoder.bytes(tag::STR, key.as_bytes())?;
        }
        self.fields.n_written += 1;
        self.fields.encoder.value(value).map_err(|e| e.in_field(key))
    }

    /// A field that is left out: with names only its reader can tell.
    fn skip(&self) -> Result<(), Error> {
        if self.fields.announced.is_some() { Err(Error::needs_names()) } else { Ok(()) }
    }
}

macro_rules! elements {
    ($($trait:ident: $name:ident;)*) => {
        $(
            impl<S: Sink> $trait for Compound<'_, '_, S> {
                type Ok = ();
                type Error = Error;

                #[inline]
                fn $name<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                    self.element(value)
                }

                #[inline]
                fn end(self) -> Result<(), Error> {
                    self.finish()
                }
            }
        )*
    };
}
elements!(
    SerializeSeq: serialize_element;
    SerializeTuple: serialize_element;
    SerializeTupleStruct: serialize_field;
    SerializeTupleVariant: serialize_field;
);

impl<S: Sink> SerializeMap for Compound<'_, '_, S> {
    type Ok = ();
    type Error = Error;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.n_written += 1;
        self.encoder.value(key).map_err(|e| e.in_field("key"))
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let index = self.n_written.saturating_sub(1);
        self.encoder.value(value).map_err(|e| e.in_element(index))
    }

    #[inline]
    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}

macro_rules! fields {
    ($($trait:ident)*) => {
        $(
            impl<S: Sink> $trait for Fields<'_, '_, S> {
                type Ok = ();
                type Error = Error;

                #[inline]
                fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Error> {
                    self.field(key, value)
                }

                #[inline]
                fn skip_field(&mut self, _key: &'static str) -> Result<(), Error> {
                    self.skip()
                }

                #[inline]
                fn end(self) -> Result<(), Error> {
                    self.fields.finish()
                }
            }
        )*
    };
}
fields!(SerializeStruct SerializeStructVariant);
