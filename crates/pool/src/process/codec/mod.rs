//! How the items of a map and their results are packed: numbers in their full width, so that an item is a store and a
//! load, where the varints of single tasks' arguments are loops.
//!
//! Numbers are little-endian; lengths and variants below 255 are one byte, others that byte and eight more. It says
//! nothing of types, as postcard does not: both sides are the same program. A sequence takes at least one byte an
//! element (it is padded), so that what came bounds how long a decoder is busy with it.

mod de;
mod run;
mod ser;
#[cfg(test)]
mod tests;

use std::fmt;

use proc_core::stack::Room;
use serde::{Deserialize, Serialize};

pub(super) use self::run::{decode_all, encode_all};

/// Appends `value` to `bytes`.
pub(super) fn encode<T: Serialize>(value: &T, bytes: &mut Vec<u8>) -> Result<(), Error> {
    value.serialize(&mut ser::Encoder { bytes })
}

/// Takes a value from the front of `bytes`. Allocates no more than some multiple of what is there.
pub(super) fn decode<'de, T: Deserialize<'de>>(bytes: &mut &'de [u8]) -> Result<T, Error> {
    let mut decoder = de::Decoder { bytes, room: Room::here() };
    let value = T::deserialize(&mut decoder)?;
    *bytes = decoder.bytes;
    Ok(value)
}

/// Lengths from here on take nine bytes.
const LONG: u8 = 255;

/// Why a value does not encode or decode.
#[derive(Debug)]
pub(super) struct Error(Box<str>);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl serde::ser::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string().into())
    }
}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string().into())
    }
}
