//! Values of one type, one after another.

use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    codec::encode,
    de::Decoder,
    error::Error,
    info::TypeInfo,
    ser::{Compact, Encoder},
    sink::{Place, Sink},
    sites::Site,
};

/// No more room is made at a time, so that it is in the cache still when it is written; and no less, where long values are between
/// short ones.
const MAX_ROOM: usize = 4096;
const MIN_ROOM: usize = 512;
/// Values from this length on go by themselves: to make room and to write the last in it twice takes longer than what it saves.
const LONG: usize = 256;

/// What so many values take at most, most often: as much as they are twice, and some for what they have outside of
/// themselves, and for tags.
fn room_of<T>(n: usize) -> usize {
    n.saturating_mul(2 * size_of::<T>() + 32)
}

/// Appends each of `values` as [`encode`] writes it.
///
/// # Errors
/// As [`encode`], with the index of the value; those before it have been appended.
pub fn encode_all<T: Serialize>(info: &TypeInfo, values: &[T], bytes: &mut Vec<u8>) -> Result<(), (usize, Error)> {
    let mut n_written = 0;
    let (mut room, mut is_long) = (MAX_ROOM, false);
    loop {
        // What comes next is most likely as long as what came last.
        if !is_long {
            let begin = bytes.len();
            n_written += encode_some(info, &values[n_written..], room, bytes);
            room = (2 * (bytes.len() - begin)).clamp(MIN_ROOM, MAX_ROOM);
        }
        // It may be the first of its kind, or longer than the room that was left.
        let Some(value) = values.get(n_written) else { return Ok(()) };
        let begin = bytes.len();
        encode(info, value, bytes).map_err(|e| (n_written, e))?;
        n_written += 1;
        is_long = bytes.len() - begin >= LONG;
    }
}

/// Takes `n` values that [`encode_all`] wrote from the front of `bytes`, and appends them to `values`. Allocates no more than
/// some multiple of what is there.
///
/// # Errors
/// If they are not there.
pub fn take_all<T: DeserializeOwned>(n: usize, bytes: &mut &[u8], values: &mut Vec<T>) -> Result<(), Error> {
    // Each takes a byte at least.
    values.reserve(n.min(bytes.len()));
    let mut decoder = Decoder::of_row(bytes);
    // Moved some values later: one that was just written in small pieces, and is read in large ones, must reach the cache in
    // between. One of up to three words is moved in small pieces, too.
    let n_by_four = if size_of::<T>() > 3 * size_of::<usize>() { n / 4 } else { 0 };
    for _ in 0..n_by_four {
        let (first, second, third, fourth) = (decoder.next(), decoder.next(), decoder.next(), decoder.next());
        values.push(first?);
        values.push(second?);
        values.push(third?);
        values.push(fourth?);
    }
    for _ in 4 * n_by_four..n {
        values.push(decoder.next()?);
    }
    *bytes = decoder.bytes;
    Ok(())
}

/// Appends as many of the first of `values` as fit into `room` bytes and need no second look; says how many.
#[inline]
fn encode_some<T: Serialize>(info: &TypeInfo, values: &[T], room: usize, bytes: &mut Vec<u8>) -> usize {
    // What is noted of a handle in a value that is not written at once must be forgotten, which is `encode`'s.
    if values.is_empty() || !info.is_tried() || info.may_hold_handles() {
        return 0;
    }
    let room = room_of::<T>(values.len()).min(room);
    let (begin, known) = (bytes.len(), &info.reading().known);
    bytes.resize(begin + room, 0);
    let mut place = Place::new(&mut bytes[begin..]);
    let mut encoder = Encoder::new(&mut place, Compact(known));
    let (mut n_written, mut n_bytes) = (0, 0);
    for value in values {
        encoder.site = Site::TOP;
        if encoder.value(value).is_err() {
            break;
        }
        n_written += 1;
        n_bytes = encoder.sink.position();
    }
    bytes.truncate(begin + n_bytes);
    n_written
}

/// Writes values of one type one at a time, each over the one before it.
#[derive(Debug)]
pub struct OneByOne<T> {
    info: &'static TypeInfo,
    /// Where most values fit in.
    room: Vec<u8>,
    /// One that did not.
    other: Vec<u8>,
    values: PhantomData<fn(&T)>,
}

impl<T: Serialize + DeserializeOwned> OneByOne<T> {
    /// Of this type. Nothing is written yet.
    #[must_use]
    pub fn of() -> Self {
        Self { info: TypeInfo::of::<T>(), room: vec![0; room_of::<T>(1)], other: Vec::new(), values: PhantomData }
    }

    /// `value` as [`encode`] writes it.
    ///
    /// # Errors
    /// As [`encode`].
    #[inline]
    pub fn encode(&mut self, value: &T) -> Result<&[u8], Error> {
        // As in `encode_some`.
        if self.info.is_tried() && !self.info.may_hold_handles() {
            let mut place = Place::new(&mut self.room);
            if Encoder::new(&mut place, Compact(&self.info.reading().known)).value(value).is_ok() {
                let n_bytes = place.position();
                return Ok(&self.room[..n_bytes]);
            }
        }
        self.encode_at_length(value)
    }

    #[inline(never)]
    fn encode_at_length(&mut self, value: &T) -> Result<&[u8], Error> {
        self.other.clear();
        encode(self.info, value, &mut self.other)?;
        // What comes next is most likely as long.
        if (self.room.len()..MAX_ROOM).contains(&self.other.len()) {
            self.room.resize(2 * self.other.len(), 0);
        }
        Ok(&self.other)
    }
}
