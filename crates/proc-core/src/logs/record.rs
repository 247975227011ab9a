//! A record of the crate `log`, as it lies in the ring.

use log::{
    Level, Record,
    kv::{Error, Key, Value, VisitSource, VisitValue},
};

use super::{
    ring::MAX_RECORD_BYTES,
    text::{Cursor, put_name, put_text},
    value::{FieldValue, put_display},
};

/// The tag of a record.
pub(super) const RECORD: u8 = 1;

const HAS_MODULE: u8 = 1;
const HAS_FILE: u8 = 2;
const HAS_LINE: u8 = 4;

/// Key-values may take so much of a record; what does not fit is left out.
const MAX_FIELDS_BYTES: usize = 8 * 1024;
/// A value may be so long.
const MAX_VALUE_BYTES: usize = 4 * 1024;

/// A record, taken apart.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) level: Level,
    pub(super) target: &'a str,
    pub(super) module: Option<&'a str>,
    pub(super) file: Option<&'a str>,
    pub(super) line: Option<u32>,
    pub(super) fields: Vec<(&'a str, FieldValue<'a>)>,
    pub(super) message: &'a str,
    /// Bytes of the message that are missing at its end.
    pub(super) n_cut: u32,
}

/// Writes a record over what is in `bytes`: [`MAX_RECORD_BYTES`] at most.
pub(super) fn put(record: &Record<'_>, bytes: &mut Vec<u8>) {
    bytes.clear();
    let (module, file, line) = (record.module_path(), record.file(), record.line());
    let has = [(module.is_some(), HAS_MODULE), (file.is_some(), HAS_FILE), (line.is_some(), HAS_LINE)];
    let flags: u8 = has.into_iter().map(|(has, flag)| if has { flag } else { 0 }).sum();
    bytes.extend_from_slice(&[RECORD, record.level() as u8, flags]);
    bytes.extend_from_slice(&line.unwrap_or_default().to_ne_bytes());
    put_name(bytes, record.target());
    put_name(bytes, module.unwrap_or_default());
    put_name(bytes, file.unwrap_or_default());
    let count_at = bytes.len();
    bytes.push(0);
    let mut fields = PutFields { limit: bytes.len() + MAX_FIELDS_BYTES, bytes, n: 0 };
    // One that cannot be visited to its end has the fields that came before.
    let _ = record.key_values().visit(&mut fields);
    let n = fields.n;
    bytes[count_at] = n;
    // The number of bytes that are missing comes last.
    let n_cut = put_text(bytes, MAX_RECORD_BYTES - 4, *record.args());
    bytes.extend_from_slice(&u32::try_from(n_cut).unwrap_or(u32::MAX).to_ne_bytes());
}

impl<'a> Parts<'a> {
    /// What [`put`] has written, without its tag; `None` if it is nothing of the kind.
    pub(super) fn take(mut from: Cursor<'a>) -> Option<Self> {
        let level = Level::iter().nth(usize::from(from.byte()?).checked_sub(1)?)?;
        let flags = from.byte()?;
        let line = u32::from_ne_bytes(from.array()?);
        let (target, module, file) = (from.name()?, from.name()?, from.name()?);
        let n = from.byte()?;
        let fields = (0..n).map(|_| Some((from.name()?, FieldValue::take(&mut from)?))).collect::<Option<_>>()?;
        let message = from.text()?;
        let n_cut = u32::from_ne_bytes(from.array()?);
        let module = (flags & HAS_MODULE != 0).then_some(module);
        let file = (flags & HAS_FILE != 0).then_some(file);
        let line = (flags & HAS_LINE != 0).then_some(line);
        from.0.is_empty().then_some(Self { level, target, module, file, line, fields, message, n_cut })
    }
}

/// Appends key-values, as long as there is room.
struct PutFields<'a> {
    bytes: &'a mut Vec<u8>,
    limit: usize,
    n: u8,
}

impl<'kvs> VisitSource<'kvs> for PutFields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let begin = self.bytes.len();
        put_name(self.bytes, key.as_str());
        let mut putting = PutValue { limit: self.bytes.len() + MAX_VALUE_BYTES, bytes: self.bytes };
        value.visit(&mut putting)?;
        if self.n == u8::MAX || self.bytes.len() > self.limit {
            self.bytes.truncate(begin);
            return Err(Error::msg("no room"));
        }
        self.n += 1;
        Ok(())
    }
}

struct PutValue<'a> {
    bytes: &'a mut Vec<u8>,
    limit: usize,
}

impl PutValue<'_> {
    fn put(&mut self, value: FieldValue<'_>) -> Result<(), Error> {
        value.put(self.bytes, self.limit);
        Ok(())
    }
}

impl<'v> VisitValue<'v> for PutValue<'_> {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), Error> {
        put_display(self.bytes, self.limit, format_args!("{value}"));
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), Error> {
        self.put(FieldValue::Unsigned(value))
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), Error> {
        self.put(FieldValue::Signed(value))
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), Error> {
        self.put(FieldValue::Float(value))
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), Error> {
        self.put(FieldValue::Bool(value))
    }

    fn visit_str(&mut self, value: &str) -> Result<(), Error> {
        self.put(FieldValue::Text(value))
    }
}

impl<'a> From<FieldValue<'a>> for Value<'a> {
    fn from(value: FieldValue<'a>) -> Self {
        match value {
            FieldValue::Text(text) => text.into(),
            FieldValue::Signed(number) => number.into(),
            FieldValue::Unsigned(number) => number.into(),
            FieldValue::Float(number) => number.into(),
            FieldValue::Bool(is_true) => is_true.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(message: &str, fields: &[(&str, Value<'_>)]) -> Vec<u8> {
        let mut bytes = vec![9; 7];
        let mut record = Record::builder();
        record.level(Level::Debug).target("a::b").file(Some("src/a.rs")).line(Some(7)).key_values(&fields);
        put(&record.args(format_args!("{message}")).build(), &mut bytes);
        bytes
    }

    fn take(bytes: &[u8]) -> Option<Parts<'_>> {
        let (tag, rest) = bytes.split_first()?;
        if *tag == RECORD { Parts::take(Cursor(rest)) } else { None }
    }

    #[test]
    fn what_is_put_is_taken() {
        let fields =
            [("a", Value::from(-1)), ("ü", Value::from("text")), ("c", Value::from(2.5)), ("d", Value::from(true))];
        let bytes = bytes_of("Grüße", &fields);
        let parts = take(&bytes).unwrap();
        assert_eq!((parts.level, parts.target, parts.message, parts.n_cut), (Level::Debug, "a::b", "Grüße", 0));
        assert_eq!((parts.module, parts.file, parts.line), (None, Some("src/a.rs"), Some(7)));
        let (signed, text) = (FieldValue::Signed(-1), FieldValue::Text("text"));
        let expected = [("a", signed), ("ü", text), ("c", FieldValue::Float(2.5)), ("d", FieldValue::Bool(true))];
        assert_eq!(parts.fields, expected);
    }

    #[test]
    fn a_huge_message_is_cut_between_characters() {
        let message = "ä".repeat(MAX_RECORD_BYTES);
        let bytes = bytes_of(&message, &[]);
        assert!(bytes.len() <= MAX_RECORD_BYTES && bytes.len() > MAX_RECORD_BYTES - 8);
        let parts = take(&bytes).unwrap();
        assert_eq!(parts.message.len() + parts.n_cut as usize, message.len());
    }

    #[test]
    fn many_and_long_fields_leave_room_for_the_message() {
        let long = "x".repeat(100_000);
        let fields: Vec<_> = (0..300).map(|_| (long.as_str(), Value::from(long.as_str()))).collect();
        let bytes = bytes_of("message", &fields);
        assert_eq!(take(&bytes).unwrap().message, "message");
        assert!(!take(&bytes).unwrap().fields.is_empty());
    }

    #[test]
    fn garbled_bytes_are_nothing_and_no_panic() {
        let bytes = bytes_of("message", &[("key", Value::from("value"))]);
        for len in 0..bytes.len() {
            assert!(take(&bytes[..len]).is_none(), "{len} bytes");
        }
        for i in 0..bytes.len() {
            for bit in 0..8 {
                let mut garbled = bytes.clone();
                garbled[i] ^= 1 << bit;
                let _ = take(&garbled);
            }
        }
        for level in [0, 6, 255] {
            let mut garbled = bytes.clone();
            garbled[1] = level;
            assert!(take(&garbled).is_none());
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(take(&longer).is_none());
    }
}
