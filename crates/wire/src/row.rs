//! Values of one type, one after another.

use serde::Serialize;

use crate::{
    codec::encode,
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
/// How much of it is for what a value has outside of itself, and for tags.
const ROOM_BESIDE: usize = 32;
/// Values from this length on go by themselves: to make room and to write the last in it twice takes longer than what it saves.
const LONG: usize = 256;

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

/// Appends as many of the first of `values` as fit into `room` bytes and need no second look; says how many.
#[inline]
fn encode_some<T: Serialize>(info: &TypeInfo, values: &[T], room: usize, bytes: &mut Vec<u8>) -> usize {
    // What is noted of a handle in a value that is not written at once must be forgotten, which is `encode`'s.
    if values.is_empty() || !info.is_tried() || info.may_hold_handles() {
        return 0;
    }
    let room = values.len().saturating_mul(2 * size_of::<T>() + ROOM_BESIDE).min(room);
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
