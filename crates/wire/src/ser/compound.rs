//! What has elements or fields.

use serde::{
    Serialize,
    ser::{
        SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
        SerializeTupleVariant,
    },
};

use super::encoder::{ELEMENT, Encoder, KEY, Style, VALUE};
use crate::{
    error::Trouble,
    name_hash::NameHash,
    sink::Sink,
    sites::{Site, is_leaf},
    tag,
};

/// More parts than there can be. So many count as written once one could not be: its error may be ignored.
const LOST: usize = 1 << (usize::BITS - 1);

/// Elements to come, or keys and values.
pub(crate) struct Compound<'a, 'b, S, Y> {
    encoder: &'a mut Encoder<'b, S, Y>,
    /// How many were announced, unless their end is marked.
    announced: Option<usize>,
    n_written: usize,
    /// Where they are.
    site: Site,
}

impl<'a, 'b, S: Sink, Y: Style> Compound<'a, 'b, S, Y> {
    #[inline(always)]
    pub(super) fn new(encoder: &'a mut Encoder<'b, S, Y>, announced: Option<usize>, site: Site) -> Self {
        Self { encoder, announced, n_written: 0, site }
    }

    /// One of any number.
    #[inline(always)]
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Y::Error> {
        let site = self.site.inside(ELEMENT);
        if self.n_written == 0 {
            self.see::<T>(site)?;
        }
        self.at(site, value)
    }

    /// One that is always there.
    #[inline(always)]
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Y::Error> {
        self.at(self.site.part(self.n_written), value)
    }

    #[inline(always)]
    fn at<T: Serialize + ?Sized>(&mut self, site: Site, value: &T) -> Result<(), Y::Error> {
        let index = self.n_written;
        self.n_written += 1;
        if !is_leaf::<T>() {
            self.encoder.site = site;
        }
        self.encoder.value(value).map_err(|e| {
            self.n_written = LOST;
            e.in_element(index)
        })
    }

    /// Finds out about something that not all have.
    #[inline(always)]
    fn see<T: Serialize + ?Sized>(&mut self, site: Site) -> Result<(), Y::Error> {
        self.encoder.style.see(site.of::<T>()).inspect_err(|_| self.n_written = LOST)
    }

    #[inline(always)]
    fn finish(self) -> Result<(), Y::Error> {
        match self.announced {
            Some(announced) if announced == self.n_written => Ok(()),
            _ if self.n_written >= LOST => Err(Y::Error::ignored()),
            None => self.encoder.byte(tag::END),
            // With names nobody relies on what was announced.
            Some(_) => Err(Y::Error::needs_names()),
        }
    }
}

/// Fields to come.
pub(crate) struct Fields<'a, 'b, S, Y> {
    fields: Compound<'a, 'b, S, Y>,
    /// Their names where they are read, if these are to be compared.
    expected: Option<NameHash>,
    /// Those so far, if they are to be compared.
    names: NameHash,
}

impl<'a, 'b, S: Sink, Y: Style> Fields<'a, 'b, S, Y> {
    #[inline(always)]
    pub(super) fn new(fields: Compound<'a, 'b, S, Y>, expected: Option<NameHash>) -> Self {
        Self { fields, expected, names: NameHash::new() }
    }

    #[inline(always)]
    fn field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Y::Error> {
        if self.expected.is_some() {
            self.names.push(key);
        }
        if !is_leaf::<T>() {
            self.fields.encoder.site = self.fields.site.part(self.fields.n_written);
        }
        self.fields.n_written += 1;
        let named = match self.fields.announced {
            None => self.fields.encoder.bytes(tag::STR, key.as_bytes()),
            Some(_) => Ok(()),
        };
        named.and_then(|()| self.fields.encoder.value(value)).map_err(|e| {
            self.fields.n_written = LOST;
            e.in_field(key)
        })
    }

    #[inline(always)]
    fn finish(self) -> Result<(), Y::Error> {
        if self.expected.is_some_and(|expected| expected != self.names) {
            return Err(Y::Error::needs_names());
        }
        self.fields.finish()
    }

    /// A field that is left out: with names only its reader can tell.
    fn skip(&mut self) -> Result<(), Y::Error> {
        self.fields.encoder.has_gaps = true;
        if self.fields.announced.is_some() { Err(Y::Error::needs_names()) } else { Ok(()) }
    }
}

macro_rules! elements {
    ($($trait:ident: $name:ident as $how:ident;)*) => {
        $(
            impl<S: Sink, Y: Style> $trait for Compound<'_, '_, S, Y> {
                type Ok = ();
                type Error = Y::Error;

                #[inline(always)]
                fn $name<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Y::Error> {
                    self.$how(value)
                }

                #[inline(always)]
                fn end(self) -> Result<(), Y::Error> {
                    self.finish()
                }
            }
        )*
    };
}
elements!(
    SerializeSeq: serialize_element as element;
    SerializeTuple: serialize_element as part;
    SerializeTupleStruct: serialize_field as part;
    SerializeTupleVariant: serialize_field as part;
);

impl<S: Sink, Y: Style> SerializeMap for Compound<'_, '_, S, Y> {
    type Ok = ();
    type Error = Y::Error;

    #[inline(always)]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Y::Error> {
        let site = self.site.inside(KEY);
        if self.n_written == 0 {
            self.see::<T>(site)?;
        }
        self.n_written += 1;
        self.encoder.site = site;
        self.encoder.value(key).map_err(|e| {
            self.n_written = LOST;
            e.in_field("key")
        })
    }

    #[inline(always)]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Y::Error> {
        let index = self.n_written.saturating_sub(1);
        let site = self.site.inside(VALUE);
        if index == 0 {
            self.see::<T>(site)?;
        }
        self.encoder.site = site;
        self.encoder.value(value).map_err(|e| {
            self.n_written = LOST;
            e.in_element(index)
        })
    }

    #[inline(always)]
    fn end(self) -> Result<(), Y::Error> {
        self.finish()
    }
}

macro_rules! fields {
    ($($trait:ident)*) => {
        $(
            impl<S: Sink, Y: Style> $trait for Fields<'_, '_, S, Y> {
                type Ok = ();
                type Error = Y::Error;

                #[inline(always)]
                fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Y::Error> {
                    self.field(key, value)
                }

                #[inline(always)]
                fn skip_field(&mut self, _key: &'static str) -> Result<(), Y::Error> {
                    self.skip()
                }

                #[inline(always)]
                fn end(self) -> Result<(), Y::Error> {
                    self.finish()
                }
            }
        )*
    };
}
fields!(SerializeStruct SerializeStructVariant);
