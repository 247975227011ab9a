//! What a field of a record may be.

use super::text::{Cursor, put_text};

/// A value, as it is written and read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum FieldValue<'a> {
    Text(&'a str),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Bool(bool),
}

const TEXT: u8 = 1;
const SIGNED: u8 = 2;
const UNSIGNED: u8 = 3;
const FLOAT: u8 = 4;
const BOOL: u8 = 5;

impl<'a> FieldValue<'a> {
    /// Appends it; what does not fit under `limit` is cut off. Returns how many bytes are missing.
    pub(super) fn put(self, bytes: &mut Vec<u8>, limit: usize) -> usize {
        let (tag, word) = match self {
            Self::Text(text) => return put_display(bytes, limit, format_args!("{text}")),
            Self::Signed(number) => (SIGNED, number.to_ne_bytes()),
            Self::Unsigned(number) => (UNSIGNED, number.to_ne_bytes()),
            Self::Float(number) => (FLOAT, number.to_ne_bytes()),
            Self::Bool(is_true) => (BOOL, u64::from(is_true).to_ne_bytes()),
        };
        bytes.push(tag);
        bytes.extend_from_slice(&word);
        0
    }

    pub(super) fn take(from: &mut Cursor<'a>) -> Option<Self> {
        Some(match from.byte()? {
            TEXT => Self::Text(from.text()?),
            SIGNED => Self::Signed(i64::from_ne_bytes(from.array()?)),
            UNSIGNED => Self::Unsigned(u64::from_ne_bytes(from.array()?)),
            FLOAT => Self::Float(f64::from_ne_bytes(from.array()?)),
            BOOL => Self::Bool(u64::from_ne_bytes(from.array()?) != 0),
            _ => return None,
        })
    }
}

/// As [`FieldValue::put`], of a text that is yet to be written.
pub(super) fn put_display(bytes: &mut Vec<u8>, limit: usize, text: std::fmt::Arguments<'_>) -> usize {
    bytes.push(TEXT);
    put_text(bytes, limit, text)
}
