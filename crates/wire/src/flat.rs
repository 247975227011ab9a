//! Values that are the same few numbers each time, in a row: without tags, one as long as the other.
//!
//! A type has a shape if its `Deserialize` asks for numbers, tuples and structs and for nothing else, so that there is
//! nothing to be chosen. Each value is held to that shape at its end, when it has been written and when it has been read: what
//! differs in the kind of a number or in where a tuple begins goes no further, and is not taken for something else.

mod de;
mod ser;

use std::{fmt, marker::PhantomData, slice};

use serde::{Serialize, de::DeserializeOwned};

use self::{de::Reader, ser::Writer};
use crate::{codec::encode, error::Error, info::TypeInfo, shape::Shape};

/// How the values of a type go that are the same few numbers each time.
pub struct Flat<T> {
    info: &'static TypeInfo,
    shape: &'static Shape,
    values: PhantomData<fn(T) -> T>,
}

const N_AT_ONCE: usize = 32;

impl<T: Serialize + DeserializeOwned> Flat<T> {
    /// `None` if what its values consist of differs from one to the other.
    pub fn of() -> Option<Self> {
        let info = TypeInfo::of::<T>();
        let shape = info.reading().shape.as_ref()?;
        Some(Self { info, shape, values: PhantomData })
    }

    /// Appends `values`, one as long as the other, and not a word about what they are. False, and nothing is appended, if
    /// one of them is not what its type's others are.
    #[inline]
    pub fn encode(self, values: &[T], bytes: &mut Vec<u8>) -> bool {
        if values.first().is_some_and(|first| !self.is_tried_with(first)) {
            return false;
        }
        let (begin, stride) = (bytes.len(), self.shape.stride);
        bytes.reserve(values.len() * stride);
        // Room is made for some at a time, so that it is in the cache still when they are written.
        let is_written = values.chunks(N_AT_ONCE).all(|values| {
            let begin = bytes.len();
            bytes.resize(begin + values.len() * stride, 0);
            self.write(values, &mut bytes[begin..])
        });
        if !is_written {
            bytes.truncate(begin);
        }
        is_written
    }

    /// Replaces what is in `bytes` by one value, as [`encode`](Self::encode) writes it; best what is there is another. False
    /// if it is not what its type's others are: then what is there is nothing.
    #[inline]
    pub fn encode_over(self, value: &T, bytes: &mut Vec<u8>) -> bool {
        if bytes.len() != self.shape.stride {
            bytes.clear();
            bytes.resize(self.shape.stride, 0);
        }
        self.is_tried_with(value) && self.write(slice::from_ref(value), bytes)
    }

    /// Writes values to their places. The only caller of their `serialize`, which is therefore inlined, and never itself: so what is
    /// found out about a value is constants.
    #[inline(never)]
    fn write(self, values: &[T], places: &mut [u8]) -> bool {
        values.iter().zip(places.chunks_exact_mut(self.shape.stride)).all(|(value, place)| {
            let mut writer = Writer::new(place);
            value.serialize(&mut writer).is_ok() && writer.has_written(self.shape)
        })
    }

    /// Whether values with each of its structs have come back as they were, or this one does.
    #[inline]
    fn is_tried_with(self, value: &T) -> bool {
        #[cold]
        fn try_with<T: Serialize>(info: &TypeInfo, value: &T) -> bool {
            encode(info, value, &mut Vec::new()).is_ok() && info.is_tried()
        }
        (self.info.is_tried() || try_with(self.info, value)) && self.info.reading().known.are_names_confirmed()
    }

    /// Takes `n` values that [`encode`](Self::encode) wrote from the front of `bytes`, and appends them to `values`.
    ///
    /// # Errors
    /// If they are not there.
    #[inline]
    pub fn take(self, n: usize, bytes: &mut &[u8], values: &mut Vec<T>) -> Result<(), Error> {
        let stride = self.shape.stride;
        let row = n.checked_mul(stride).and_then(|n_bytes| bytes.split_off(..n_bytes)).ok_or_else(short)?;
        values.reserve(n);
        let mut readers = row.chunks_exact(stride).map(|place| Reader::new(&place[..self.shape.n_bytes]));
        for _ in 0..n / 4 {
            let [Some(mut a), Some(mut b), Some(mut c), Some(mut d)] = std::array::from_fn(|_| readers.next()) else {
                break;
            };
            // Moved some values later: one that was just written in small pieces, and is read in large ones, must reach
            // the cache in between.
            let first = T::deserialize(&mut a);
            let second = T::deserialize(&mut b);
            let third = T::deserialize(&mut c);
            let fourth = T::deserialize(&mut d);
            values.push(self.checked(first, &a)?);
            values.push(self.checked(second, &b)?);
            values.push(self.checked(third, &c)?);
            values.push(self.checked(fourth, &d)?);
        }
        for mut reader in readers {
            let value = T::deserialize(&mut reader);
            values.push(self.checked(value, &reader)?);
        }
        Ok(())
    }

    /// A value, if what its type asked for is what it asks for each time.
    #[inline(always)]
    fn checked(self, value: Result<T, Error>, reader: &Reader<'_>) -> Result<T, Error> {
        if value.is_ok() && !reader.has_read(self.shape) { Err(de::other()) } else { value }
    }
}

impl<T> Clone for Flat<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Flat<T> {}

impl<T> fmt::Debug for Flat<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flat").field("n_bytes", &self.shape.n_bytes).finish_non_exhaustive()
    }
}

#[cold]
fn short() -> Error {
    Error::malformed("the bytes end too early")
}
