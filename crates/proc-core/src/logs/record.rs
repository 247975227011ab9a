//! A record of the crate `log`, as it lies in the ring.

use log::{
    Record,
    kv::{Error, Key, Value, VisitSource, VisitValue},
};

use super::{
    draft::{Draft, Head, RECORD},
    value::{FieldValue, put_display},
};

/// Writes a record over what is in `bytes`.
pub(super) fn put(record: &Record<'_>, bytes: &mut Vec<u8>) {
    let head = Head {
        level: record.level() as u8,
        target: record.target(),
        module: record.module_path(),
        file: record.file(),
        line: record.line(),
    };
    let mut draft = Draft::new(bytes, RECORD, &head);
    // One that cannot be visited to its end has the fields that came before.
    let _ = record.key_values().visit(&mut FieldVisitor(&mut draft));
    draft.end(Some(*record.args()));
}

/// Adds key-values, as long as there is room.
struct FieldVisitor<'a, 'b>(&'a mut Draft<'b>);

impl<'kvs> VisitSource<'kvs> for FieldVisitor<'_, '_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        match self.0.field(key.as_str(), |bytes, limit| value.visit(PutValue { bytes, limit }))? {
            true => Ok(()),
            false => Err(Error::msg("no room")),
        }
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
    use log::Level;

    use super::{
        super::{draft::Parts, ring::MAX_RECORD_BYTES, text::Cursor},
        *,
    };

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
        let Head { level, target, module, file, line } = parts.head;
        assert_eq!((level, target, module, file, line), (Level::Debug as u8, "a::b", None, Some("src/a.rs"), Some(7)));
        assert_eq!((parts.message, parts.n_cut), (Some("Grüße"), 0));
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
        assert_eq!(parts.message.map_or(0, str::len) + parts.n_cut as usize, message.len());
    }

    #[test]
    fn many_and_long_fields_leave_room_for_the_message() {
        let long = "x".repeat(100_000);
        let fields: Vec<_> = (0..300).map(|_| (long.as_str(), Value::from(long.as_str()))).collect();
        let bytes = bytes_of("message", &fields);
        assert_eq!(take(&bytes).unwrap().message, Some("message"));
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
