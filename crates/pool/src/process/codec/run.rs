//! Many values in a row. Numbers, and structs and tuples of numbers, which are most of what is mapped over, all have the same
//! packed length: numbers go as they lie in memory, so that they are copied all at once.

use proc_core::Panic;
use serde::{
    Serialize,
    de::{DeserializeOwned, Error as _, IgnoredAny},
};
use wire::{Error, Flat, TypeInfo, extend_plain, is_plain, plain_bytes, take_all};

use super::{decode, short};

/// How the values of a row are packed. It precedes each row, except rows of numbers.
pub(crate) enum Form<T> {
    /// As each is alone.
    Each,
    /// All of the same length.
    Flat(Flat<T>),
}

impl<T: Serialize + DeserializeOwned> Form<T> {
    /// In which form a row that begins with `value` can go.
    pub(crate) fn of(value: &T) -> Self {
        match Flat::of() {
            Some(flat) if flat.encode_over(value, &mut Vec::new()) => Self::Flat(flat),
            _ => Self::Each,
        }
    }

    /// A word, so that what follows is aligned as without it.
    pub(crate) fn word(&self) -> [u8; 8] {
        u64::from(matches!(self, Self::Flat(_))).to_ne_bytes()
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, Error> {
        let (word, rest) = bytes.split_first_chunk().ok_or_else(short)?;
        *bytes = rest;
        match (u64::from_ne_bytes(*word), Flat::of()) {
            (0, _) => Ok(Self::Each),
            (1, Some(flat)) => Ok(Self::Flat(flat)),
            _ => Err(Error::custom("a row is packed in no known form")),
        }
    }
}

/// Appends a row; an error with the index of the value that cannot be sent.
pub(crate) fn encode_all<T: Serialize + DeserializeOwned>(
    values: &[T],
    bytes: &mut Vec<u8>,
) -> Result<(), (usize, Error)> {
    if let Some(plain) = plain_bytes(values) {
        bytes.extend_from_slice(plain);
        return Ok(());
    }
    if let Some(flat) = Flat::of() {
        let begin = bytes.len();
        bytes.extend_from_slice(&Form::Flat(flat).word());
        if flat.encode(values, bytes) {
            return Ok(());
        }
        bytes.truncate(begin);
    }
    bytes.extend_from_slice(&Form::<T>::Each.word());
    wire::encode_all(TypeInfo::of::<T>(), values, bytes)
}

/// Takes a row of `n` values from the front of `bytes`, and appends them to `values`.
pub(crate) fn decode_all<T: Serialize + DeserializeOwned>(
    n: usize,
    bytes: &mut &[u8],
    values: &mut Vec<T>,
) -> Result<(), Error> {
    if is_plain::<T>() {
        let plain = n.checked_mul(size_of::<T>()).and_then(|len| bytes.split_off(..len)).ok_or_else(short)?;
        extend_plain(values, plain);
        return Ok(());
    }
    if let Form::Flat(flat) = Form::take(bytes)? {
        return flat.take(n, bytes, values);
    }
    take_all(n, bytes, values)
}

/// As [`decode_all`], one by one: `each` is given every value, or why its type does not read it.
///
/// # Errors
/// If it is not known where the next one begins.
#[cold]
pub(crate) fn decode_each<T: Serialize + DeserializeOwned>(
    n: usize,
    bytes: &mut &[u8],
    mut each: impl FnMut(Result<T, String>),
) -> Result<(), Error> {
    if is_plain::<T>() {
        return Err(short());
    }
    let form = Form::<T>::take(bytes)?;
    let mut value = Vec::with_capacity(1);
    for _ in 0..n {
        each(match &form {
            Form::Each => decode_or_skip(bytes)?,
            Form::Flat(flat) => caught(|| {
                value.clear();
                flat.take(1, bytes, &mut value)?;
                value.pop().ok_or_else(short)
            }),
        });
    }
    Ok(())
}

/// Takes a value from the front of `bytes`, or passes it, and says why its type does not read it.
///
/// # Errors
/// If it is not known where it ends.
pub(crate) fn decode_or_skip<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<Result<T, String>, Error> {
    let value = caught(|| decode(bytes));
    if value.is_err() {
        // Nothing of it was taken.
        wire::take::<IgnoredAny>(bytes)?;
    }
    Ok(value)
}

/// With a panic of the type's own code as an error.
pub(crate) fn caught<T>(decode: impl FnOnce() -> Result<T, Error>) -> Result<T, String> {
    match Panic::catch(decode) {
        Ok(decoded) => decoded.map_err(|e| e.to_string()),
        Err(panic) => Err(format!("its `Deserialize` panicked: {}", panic.message)),
    }
}
