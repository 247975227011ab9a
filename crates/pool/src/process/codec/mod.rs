//! How the items of a map and their results are packed: one after another. Numbers, and types that consist of nothing else,
//! go in their full width and without tags; all others are packed as everywhere.

mod run;
#[cfg(test)]
mod tests;

use serde::{
    Serialize,
    de::{DeserializeOwned, Error as _},
};
use wire::{Error, TypeInfo, is_plain, plain_bytes, take_plain};

pub(super) use self::run::{Form, caught, decode_all, decode_each, decode_or_skip, encode_all};

/// Appends `value` to `bytes`.
#[inline]
pub(super) fn encode<T: Serialize + DeserializeOwned>(value: &T, bytes: &mut Vec<u8>) -> Result<(), Error> {
    if let Some(plain) = plain_bytes(std::slice::from_ref(value)) {
        bytes.extend_from_slice(plain);
        return Ok(());
    }
    wire::encode(TypeInfo::of::<T>(), value, bytes)
}

/// Takes a value from the front of `bytes`. Allocates no more than some multiple of what is there.
#[inline]
pub(super) fn decode<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<T, Error> {
    if is_plain::<T>() { take_plain(bytes).ok_or_else(short) } else { wire::take(bytes) }
}

#[cold]
fn short() -> Error {
    Error::custom("the bytes end too early")
}
