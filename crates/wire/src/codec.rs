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
    journal::{Mark, comparing},
    known::Met,
    named::{self, Write},
    numbers,
    ser::{Careful, Compact, Encoder},
    sink::Sink,
    sparse::Sparse,
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
    let mark = Mark::here();
    if encode_compact(info, value, bytes).is_ok() {
        return Ok(());
    }
    bytes.truncate(begin);
    mark.rewind();
    let is_copied = numbers::of(value).is_some();
    encode_with_care(info, &|encoder| encoder.value(value), is_copied, bytes, &mark)
        .inspect_err(|_| bytes.truncate(begin))
}

/// Writes a value of any type: this is compiled once for all. Numbers that are `is_copied` as they lie in memory come back so:
/// there is nothing of a user's between.
#[cold]
fn encode_with_care(
    info: &TypeInfo,
    value: &Write<'_>,
    is_copied: bool,
    bytes: &mut Vec<u8>,
    mark: &Mark,
) -> Result<(), Error> {
    let begin = bytes.len();
    let reading = info.reading();
    if info.form() == Form::Compact {
        let mut sink = Sparse::all(bytes);
        let mut encoder = Encoder::new(&mut sink, Careful::Trial(&reading.known, Met::default()));
        match value(&mut encoder) {
            Ok(()) => {
                let has_handles = encoder.has_handles();
                let is_compared = encoder.is_compared();
                let in_vectors = encoder.in_vectors();
                let met = encoder.into_met();
                let is_large = bytes.len() - begin - in_vectors > MAX_TRIAL_BYTES || in_vectors > MAX_VECTOR_BYTES;
                if is_compared || is_large || has_handles {
                    return Ok(());
                }
                if is_copied || compare(info, value, &bytes[begin..], &vectors(&met, bytes)).is_ok() {
                    reading.known.confirm(&met);
                    info.set_tried();
                    return Ok(());
                }
            }
            Err(e) if e.kind() == ErrorKind::NeedsNames => {}
            Err(e) => return Err(e),
        }
        bytes.truncate(begin);
        mark.rewind();
    }
    let written = named::write(value, &mut Sparse::all(bytes))?;
    // To read handles takes copies of their descriptors, and maps memory. It is done where a value may arrive as another.
    let is_whole = written.has_handles && !written.has_gaps && !reading.asks_for_names;
    if written.is_compared || is_whole {
        return Ok(());
    }
    let Err(why) = compare(info, value, &bytes[begin..], &[]) else { return Ok(()) };
    // Names that the two sides do not share (`rename(serialize = …)`) are none the less in the same place.
    bytes.truncate(begin);
    mark.rewind();
    let by_position = value(&mut Encoder::new(&mut Sparse::all(bytes), Careful::Positional));
    if by_position.and_then(|()| compare(info, value, &bytes[begin..], &[])).is_ok() {
        return Ok(());
    }
    Err(refusal(info, &why))
}

/// The long vectors of numbers in what was written.
fn vectors<'a>(met: &Met, bytes: &'a [u8]) -> Vec<&'a [u8]> {
    met.vectors.iter().map(|place| &bytes[place.clone()]).collect()
}

/// How often to read a value back that seems to come back as another: some are written otherwise each time that they have
/// been read, such as the elements of a hashed set in one text. Of two elements the order is the same so often once in
/// some ten thousand times.
const MAX_READS: usize = 16;

/// What a value looks like in the named form, but for long vectors.
#[derive(PartialEq)]
struct Sketch {
    bytes: Vec<u8>,
    vectors: Vec<(usize, usize)>,
}

impl Sketch {
    fn of(write: impl FnOnce(&mut Sparse<'_>) -> Result<(), Error>, vectors: &[&[u8]]) -> Result<Self, Error> {
        let mut bytes = Vec::new();
        let mut sink = Sparse::without(vectors, &mut bytes);
        write(&mut sink)?;
        let vectors = sink.into_left_out();
        Ok(Self { bytes, vectors })
    }
}

/// Reads `bytes`, in which there are these long vectors, and compares what they are with `value`, as far as serde tells.
fn compare(info: &TypeInfo, value: &Write<'_>, bytes: &[u8], vectors: &[&[u8]]) -> Result<(), Error> {
    comparing(|| {
        let write = || Sketch::of(|sink| named::write(value, sink).map(drop), vectors);
        let Some(first) = read_back(info, bytes, vectors)? else { return Ok(()) };
        let there = write()?;
        if there == first {
            return Ok(());
        }
        if !vectors.is_empty() {
            return compare(info, value, bytes, &[]);
        }
        let is_same = |a: &Sketch, b: &Sketch| a == b || digest(&a.bytes) == digest(&b.bytes);
        if is_same(&there, &first) {
            return Ok(());
        }
        // Some write something else each time.
        if !is_same(&there, &write()?) {
            return Ok(());
        }
        for _ in 1..MAX_READS {
            match read_back(info, bytes, vectors)? {
                Some(back) if is_same(&back, &first) => {}
                _ => return Ok(()),
            }
        }
        Err(Error::new(ErrorKind::Changed, "it comes back as another value than it was"))
    })
}

/// What the value that `bytes` are looks like in the named form; `None` if the type's own code panics. Where it panics here
/// it need not do so where the value goes.
fn read_back(info: &TypeInfo, bytes: &[u8], vectors: &[&[u8]]) -> Result<Option<Sketch>, Error> {
    let read = || Sketch::of(|sink| (info.back)(bytes, sink), vectors);
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(back) => back.map(Some),
        Err(payload) => {
            // It may panic again in its `Drop`.
            std::mem::forget(payload);
            Ok(None)
        }
    }
}

fn refusal(info: &TypeInfo, why: &Error) -> Error {
    let reason = why.to_string();
    let hint = if why.kind() == ErrorKind::Changed {
        "; two variants of an `untagged` enum that look the same, or `skip_serializing_if` with another `default`, can be \
         the reason"
    } else if reason.starts_with("missing field") {
        "; a field that is left out when it is written (`skip_serializing`, `skip_serializing_if`) needs a `default`, and one \
         that is renamed needs the same name both ways"
    } else if reason.starts_with("unknown variant") {
        "; a variant that is written and not read (`skip_deserializing`) cannot travel: have it read, or use `skip`"
    } else if reason.starts_with("data did not match any variant of untagged enum") || reason.contains("128") {
        "; what serde looks at twice (`untagged`, `tag`, `flatten`) it keeps without numbers of more than 64 bits: write \
         these as text (`with`), or do without the attribute"
    } else {
        ""
    };
    let name = info.name();
    Error::new(why.kind(), format!("this value of {name} cannot be read back, and is not sent: {reason}{hint}"))
}
