//! Bytes, written one after another: tags, lengths, and the pieces that values are made of.

use serde::Serialize;

use crate::{
    error::{Error, Stop, Trouble},
    known::{Known, Met, Part},
    name_hash::NameHash,
    numbers,
    sink::Sink,
    sites::Site,
    sparse,
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
    fn check(&mut self, part: &Part) -> Result<Option<NameHash>, Self::Error>;

    /// The same of something that is not there in each value.
    fn see(&mut self, site: Site) -> Result<(), Self::Error>;

    /// Takes note of a vector of numbers, `len` bytes at this place.
    #[inline(always)]
    fn note_vector(&mut self, _at: usize, _len: usize) {}
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
    fn check(&mut self, part: &Part) -> Result<Option<NameHash>, Stop> {
        // A part of that name and length may have been confirmed in another order of its fields.
        self.0.confirmed(part).map(Some).ok_or(Stop::Indirect)
    }

    #[inline(always)]
    fn see(&mut self, site: Site) -> Result<(), Stop> {
        if self.0.sites.has(site) { Ok(()) } else { Err(Stop::Indirect) }
    }
}

/// The ways that take a second look.
pub(crate) enum Careful<'a> {
    /// By position, if the reading side should read the same, to be tried with the value. Collects what it relies on.
    Trial(&'a Known, Met),
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

    fn check(&mut self, part: &Part) -> Result<Option<NameHash>, Error> {
        let Self::Trial(known, met) = self else { return Ok(None) };
        let at = known.find(part).ok_or_else(Error::needs_names)?;
        met.parts.push(at);
        Ok(Some(known.names(at)))
    }

    fn see(&mut self, site: Site) -> Result<(), Error> {
        if let Self::Trial(known, met) = self
            && !known.sites.has(site)
        {
            met.add_site(site);
        }
        Ok(())
    }

    fn note_vector(&mut self, at: usize, len: usize) {
        if let Self::Trial(_, met) = self
            && len >= sparse::LONG
        {
            met.vectors.push(at..at + len);
        }
    }
}

/// The ways in which something is inside something else.
pub(super) const ELEMENT: u64 = 1;
pub(super) const KEY: u64 = 2;
pub(super) const VALUE: u64 = 3;
pub(super) const SOME: u64 = 4;

/// Writes one value, or some in a row, to a sink.
pub(crate) struct Encoder<'a, S, Y> {
    pub(crate) sink: &'a mut S,
    pub(super) style: Y,
    pub(super) room: Room,
    /// Where what is written next is.
    pub(crate) site: Site,
    pub(super) has_handles: bool,
    /// A field was left out.
    pub(super) has_gaps: bool,
    /// Something in it need not be compared.
    pub(super) is_compared: bool,
    /// How many bytes were vectors of numbers.
    pub(super) in_vectors: usize,
}

impl<S> Encoder<'_, S, Careful<'_>> {
    /// What a [`Careful::Trial`] relied on.
    pub(crate) fn into_met(self) -> Met {
        if let Careful::Trial(_, met) = self.style { met } else { Met::default() }
    }
}

impl<'a, S: Sink, Y: Style> Encoder<'a, S, Y> {
    #[inline]
    pub(crate) fn new(sink: &'a mut S, style: Y) -> Self {
        Self {
            sink,
            style,
            room: Room::here(),
            site: Site::TOP,
            has_handles: false,
            has_gaps: false,
            is_compared: false,
            in_vectors: 0,
        }
    }

    /// Whether one of the values so far was a handle.
    pub(crate) fn has_handles(&self) -> bool {
        self.has_handles
    }

    /// Whether a field of the values so far was left out.
    pub(crate) fn has_gaps(&self) -> bool {
        self.has_gaps
    }

    /// Whether something in the values so far has been compared before.
    pub(crate) fn is_compared(&self) -> bool {
        self.is_compared
    }

    /// How many bytes so far were vectors of numbers.
    pub(crate) fn in_vectors(&self) -> usize {
        self.in_vectors
    }

    #[inline]
    pub(super) fn has_names(&self) -> bool {
        self.style.has_names()
    }

    /// Writes a value: the only way by which values are written, so that each is asked whether it is numbers.
    #[inline(always)]
    pub(crate) fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Y::Error> {
        match numbers::of(value) {
            Some(numbers) => {
                if numbers.len > 0 {
                    self.style.see(self.site.inside(ELEMENT).of::<T>())?;
                }
                self.sink.extend(&[tag::ARRAY, numbers.tag])?;
                self.len(numbers.len)?;
                self.in_vectors += numbers.bytes.len();
                self.style.note_vector(self.sink.position(), numbers.bytes.len());
                Ok(self.sink.extend(numbers.bytes)?)
            }
            None => value.serialize(self),
        }
    }

    /// Writes what is inside another value that need not have it.
    #[inline(always)]
    pub(super) fn content<T: Serialize + ?Sized>(&mut self, site: Site, value: &T) -> Result<(), Y::Error> {
        self.style.see(site.of::<T>())?;
        self.site = site;
        self.inner(value)
    }

    /// Writes what is inside another value.
    #[inline]
    pub(super) fn inner<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Y::Error> {
        self.enter()?;
        self.value(value)
    }

    #[inline(always)]
    pub(super) fn enter(&mut self) -> Result<(), Y::Error> {
        self.room.check().map_err(|_| Y::Error::too_deep())
    }

    #[inline]
    pub(super) fn byte(&mut self, byte: u8) -> Result<(), Y::Error> {
        Ok(self.sink.push(byte)?)
    }

    #[inline]
    pub(super) fn tagged<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) -> Result<(), Y::Error> {
        Ok(self.sink.tagged(tag, bytes)?)
    }

    #[inline]
    pub(super) fn len(&mut self, len: usize) -> Result<(), Y::Error> {
        match u8::try_from(len) {
            Ok(short) if short < LONG => self.byte(short),
            _ => self.tagged(LONG, (len as u64).to_ne_bytes()),
        }
    }

    /// A tag and a length. A short one goes with it in one piece: a sink looks for room each time.
    #[inline(always)]
    pub(super) fn head(&mut self, tag: u8, len: usize) -> Result<(), Y::Error> {
        match u8::try_from(len) {
            Ok(short) if short < LONG => Ok(self.sink.extend(&[tag, short])?),
            _ => {
                self.byte(tag)?;
                self.len(len)
            }
        }
    }

    #[inline]
    pub(super) fn bytes(&mut self, tag: u8, bytes: &[u8]) -> Result<(), Y::Error> {
        match u8::try_from(bytes.len()) {
            Ok(len) if len < LONG => Ok(self.sink.short(tag, len, bytes)?),
            _ => {
                self.head(tag, bytes.len())?;
                Ok(self.sink.extend(bytes)?)
            }
        }
    }

    /// A name of the named form, which needs no tag.
    pub(super) fn name(&mut self, name: &str) -> Result<(), Y::Error> {
        self.len(name.len())?;
        Ok(self.sink.extend(name.as_bytes())?)
    }
}
