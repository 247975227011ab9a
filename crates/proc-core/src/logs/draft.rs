//! A record on its way into the ring: what both kinds of it have in common.

use std::fmt;

use super::{
    ring::MAX_RECORD_BYTES,
    text::{Cursor, put_name, put_text},
    value::FieldValue,
};

/// The tag of a record of the crate `log`.
pub(super) const RECORD: u8 = 1;
/// The tag of an event of the crate `tracing`.
pub(super) const EVENT: u8 = 2;

const HAS_MODULE: u8 = 1;
const HAS_FILE: u8 = 2;
const HAS_LINE: u8 = 4;
const HAS_MESSAGE: u8 = 8;

/// Fields may take so much of a record; what does not fit is left out.
const MAX_FIELDS_BYTES: usize = 8 * 1024;
/// A value may be so long.
const MAX_VALUE_BYTES: usize = 4 * 1024;

/// What comes first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    /// From 1, an error, to 5, a trace.
    pub(super) level: u8,
    pub(super) target: &'a str,
    pub(super) module: Option<&'a str>,
    pub(super) file: Option<&'a str>,
    pub(super) line: Option<u32>,
}

/// Writes a record over what is in a buffer: [`MAX_RECORD_BYTES`] at most.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    bytes: &'a mut Vec<u8>,
    flags_at: usize,
    count_at: usize,
    limit: usize,
}

impl<'a> Draft<'a> {
    pub(super) fn new(bytes: &'a mut Vec<u8>, tag: u8, head: &Head<'_>) -> Self {
        bytes.clear();
        let Head { level, target, module, file, line } = *head;
        let has = [(module.is_some(), HAS_MODULE), (file.is_some(), HAS_FILE), (line.is_some(), HAS_LINE)];
        let flags: u8 = has.into_iter().map(|(has, flag)| if has { flag } else { 0 }).sum();
        bytes.extend_from_slice(&[tag, level, flags]);
        let flags_at = bytes.len() - 1;
        bytes.extend_from_slice(&line.unwrap_or_default().to_ne_bytes());
        put_name(bytes, target);
        put_name(bytes, module.unwrap_or_default());
        put_name(bytes, file.unwrap_or_default());
        let count_at = bytes.len();
        bytes.push(0);
        Self { limit: bytes.len() + MAX_FIELDS_BYTES, bytes, flags_at, count_at }
    }

    /// Adds a field, whose value `put` appends, up to the limit that it is given. False if there is no room for it.
    pub(super) fn field<E>(
        &mut self,
        key: &str,
        put: impl FnOnce(&mut Vec<u8>, usize) -> Result<(), E>,
    ) -> Result<bool, E> {
        let begin = self.bytes.len();
        put_name(self.bytes, key);
        let limit = self.bytes.len() + MAX_VALUE_BYTES;
        let put = put(self.bytes, limit);
        if put.is_err() || self.bytes[self.count_at] == u8::MAX || self.bytes.len() > self.limit {
            self.bytes.truncate(begin);
            return put.map(|()| false);
        }
        self.bytes[self.count_at] += 1;
        Ok(true)
    }

    /// Adds the message, and ends the record.
    pub(super) fn end(self, message: Option<fmt::Arguments<'_>>) {
        if message.is_some() {
            self.bytes[self.flags_at] |= HAS_MESSAGE;
        }
        // The number of bytes that are missing comes last.
        let n_cut = put_text(self.bytes, MAX_RECORD_BYTES - 4, message.unwrap_or(format_args!("")));
        self.bytes.extend_from_slice(&u32::try_from(n_cut).unwrap_or(u32::MAX).to_ne_bytes());
    }
}

/// A record, taken apart.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) head: Head<'a>,
    pub(super) fields: Vec<(&'a str, FieldValue<'a>)>,
    pub(super) message: Option<&'a str>,
    /// Bytes of the message that are missing at its end.
    pub(super) n_cut: u32,
}

impl<'a> Parts<'a> {
    /// What a [`Draft`] has written, without its tag; `None` if it is nothing of the kind.
    pub(super) fn take(mut from: Cursor<'a>) -> Option<Self> {
        let level = Some(from.byte()?).filter(|level| (1..=5).contains(level))?;
        let flags = from.byte()?;
        let line = u32::from_ne_bytes(from.array()?);
        let (target, module, file) = (from.name()?, from.name()?, from.name()?);
        let n = from.byte()?;
        let fields = (0..n).map(|_| Some((from.name()?, FieldValue::take(&mut from)?))).collect::<Option<_>>()?;
        let message = from.text()?;
        let n_cut = u32::from_ne_bytes(from.array()?);
        let head = Head {
            level,
            target,
            module: (flags & HAS_MODULE != 0).then_some(module),
            file: (flags & HAS_FILE != 0).then_some(file),
            line: (flags & HAS_LINE != 0).then_some(line),
        };
        let message = (flags & HAS_MESSAGE != 0).then_some(message);
        from.0.is_empty().then_some(Self { head, fields, message, n_cut })
    }

    /// Its field of that name.
    pub(super) fn field(&self, key: &str) -> Option<FieldValue<'a>> {
        self.fields.iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
    }
}

/// Says that a message is not whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut(pub(super) u32);

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(f, " [{} bytes more, cut off]", self.0) }
    }
}
