//! Values in the form that carries them.
//!
//! The compact form says nothing of names: it is taken where the reading side is known to read the same. So much is
//! found out beforehand ([`probe`](crate::probe)). The first value with each struct and each variant is read back
//! besides, and compared with what was sent. A value in the named form is read back each time, since whether all of
//! its fields have a place there may depend on the value.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;

use crate::{
    Form,
    digest::digest,
    error::{Error, ErrorKind, Stop},
    info::TypeInfo,
    named,
    ser::{Careful, Compact, Encoder},
    sink::Sink,
};

/// Larger values are not read back, of those in the compact form. What vectors of numbers take, which is read at once,
/// does not count up to a limit of its own.
const MAX_TRIAL_BYTES: usize = 1 << 20;
const MAX_VECTOR_BYTES: usize = 16 << 20;

/// Writes `value` straight into `sink`, if that is possible. What the sink has got when it is not must be forgotten.
///
/// # Errors
/// [`Stop`].
#[inline]
pub fn encode_compact<T, S>(info: &TypeInfo, value: &T, sink: &mut S) -> Result<(), Stop>
where
    T: Serialize + ?Sized,
    S: Sink,
{
    if !info.is_tried() {
        return Err(Stop::Indirect);
    }
    let reading = info.reading();
    Encoder::new(sink, Compact(&reading.known)).value(value)
}

/// Appends `value` to `bytes`, in whichever form carries it.
///
/// # Errors
/// If it does not serialise, or would not come back as it is.
pub fn encode<T: Serialize + ?Sized>(info: &TypeInfo, value: &T, bytes: &mut Vec<u8>) -> Result<(), Error> {
    let begin = bytes.len();
    if encode_compact(info, value, bytes).is_ok() {
        return Ok(());
    }
    bytes.truncate(begin);
    encode_with_care(info, value, bytes).inspect_err(|_| bytes.truncate(begin))
}

#[cold]
fn encode_with_care<T: Serialize + ?Sized>(info: &TypeInfo, value: &T, bytes: &mut Vec<u8>) -> Result<(), Error> {
    let begin = bytes.len();
    let reading = info.reading();
    if info.form() == Form::Compact {
        let mut encoder = Encoder::new(bytes, Careful::Trial(&reading.known, Vec::new()));
        match encoder.value(value) {
            Ok(()) => {
                let has_handles = encoder.has_handles();
                let in_vectors = encoder.in_vectors();
                let met = encoder.into_met();
                let is_large = bytes.len() - begin - in_vectors > MAX_TRIAL_BYTES || in_vectors > MAX_VECTOR_BYTES;
                if has_handles || is_large {
                    return Ok(());
                }
                if compare(info, value, &bytes[begin..]).is_ok() {
                    reading.known.confirm(&met);
                    info.set_tried();
                    return Ok(());
                }
            }
            Err(e) if e.kind() == ErrorKind::NeedsNames => {}
            Err(e) => return Err(e),
        }
        bytes.truncate(begin);
    }
    let has_handles = named::write(value, bytes)?;
    if has_handles {
        return Ok(());
    }
    let Err(why) = compare(info, value, &bytes[begin..]) else { return Ok(()) };
    // Names that the two sides do not share (`rename(serialize = …)`) are none the less in the same place.
    bytes.truncate(begin);
    let by_position = Encoder::new(bytes, Careful::Positional).value(value);
    if by_position.and_then(|()| compare(info, value, &bytes[begin..])).is_ok() {
        return Ok(());
    }
    Err(refusal(info, &why))
}

/// Reads `bytes` and compares what they are with `value`, as far as serde tells.
fn compare<T: Serialize + ?Sized>(info: &TypeInfo, value: &T, bytes: &[u8]) -> Result<(), Error> {
    let (mut there, mut back) = (Vec::new(), Vec::new());
    // The type's own code. Where it panics here it need not do so where the value goes.
    match catch_unwind(AssertUnwindSafe(|| (info.back)(bytes, &mut back))) {
        Ok(read) => read?,
        Err(payload) => {
            // It may panic again in its `Drop`.
            std::mem::forget(payload);
            return Ok(());
        }
    }
    named::write(value, &mut there)?;
    if there == back || digest(&there) == digest(&back) {
        return Ok(());
    }
    // Some write something else each time.
    let mut again = Vec::new();
    named::write(value, &mut again)?;
    if digest(&there) == digest(&again) {
        return Err(Error::new(ErrorKind::Changed, "it comes back as another value than it was"));
    }
    Ok(())
}

fn refusal(info: &TypeInfo, why: &Error) -> Error {
    let reason = why.to_string();
    let hint = if why.kind() == ErrorKind::Changed {
        "; two variants of an `untagged` enum that look the same, or `skip_serializing_if` with another `default`, can be \
         the reason"
    } else if reason.starts_with("missing field") {
        "; a field that is left out when it is written (`skip_serializing`, `skip_serializing_if`) needs a `default`"
    } else {
        ""
    };
    let name = info.name();
    Error::new(why.kind(), format!("this value of {name} cannot be read back, and is not sent: {reason}{hint}"))
}
