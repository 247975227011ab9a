//! Values in the named form, and out of either.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    de::Decoder,
    error::Error,
    ser::{Careful, Encoder},
    sink::Sink,
    sparse::Sparse,
    tag,
};

/// Appends `value` to `bytes` with all names, for a reader of whom nothing is known. It is not read back.
///
/// # Errors
/// If it does not serialise.
pub fn encode_named<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) -> Result<(), Error> {
    write(&|encoder| encoder.value(value), &mut Sparse::all(bytes)).map(drop)
}

/// Writes a value, of whichever type.
pub(crate) type Write<'a> = dyn Fn(&mut Encoder<'_, Sparse<'_>, Careful<'_>>) -> Result<(), Error> + 'a;

/// What is in a value that was written.
pub(crate) struct Written {
    pub(crate) has_handles: bool,
    /// A field was left out.
    pub(crate) has_gaps: bool,
    /// Something in it has been compared before.
    pub(crate) is_compared: bool,
}

/// Appends the named form.
pub(crate) fn write(value: &Write<'_>, sink: &mut Sparse<'_>) -> Result<Written, Error> {
    sink.push(tag::NAMED)?;
    let mut encoder = Encoder::new(sink, Careful::Named);
    value(&mut encoder)?;
    Ok(Written { has_handles: encoder.has_handles(), has_gaps: encoder.has_gaps(), is_compared: encoder.is_compared() })
}

/// The value that `bytes` are.
///
/// # Errors
/// If they are not those of a `T`, or not only.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let mut decoder = Decoder::new(bytes);
    // The value stays where it is made, which a second `return` would keep it from: to move what has just been written takes
    // as long as the rest.
    let mut value = T::deserialize(&mut decoder);
    if value.is_ok() && !decoder.bytes.is_empty() {
        value = Err(left_over(decoder.bytes.len()));
    }
    value
}

#[cold]
fn left_over(n: usize) -> Error {
    Error::malformed(format!("{n} bytes are left over after the value"))
}

/// Takes a value from the front of `bytes`.
///
/// # Errors
/// If there is none.
pub fn take<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<T, Error> {
    let mut decoder = Decoder::new(bytes);
    // As in `decode`.
    let value = T::deserialize(&mut decoder);
    if value.is_ok() {
        *bytes = decoder.bytes;
    }
    value
}

/// Reads `bytes` as a `T` and appends that in the named form.
pub(crate) fn back<T: Serialize + DeserializeOwned>(bytes: &[u8], to: &mut Sparse<'_>) -> Result<(), Error> {
    let value = decode::<T>(bytes)?;
    write(&|encoder| encoder.value(&value), to).map(drop)
}
