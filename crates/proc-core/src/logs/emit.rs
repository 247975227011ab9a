//! The owner's side of a record: out of the owner's logger.

use std::fmt;

use log::{
    Level, Metadata, Record,
    kv::{Error, Key, Source, VisitSource},
};

use super::{forwarder, record::Parts, value::FieldValue};

/// The keys of the child's name and pid.
const NAME: &str = "process.name";
const PID: &str = "process.pid";
/// The target of what is logged here about the forwarding itself.
const TARGET: &str = "proc_core::logs";

/// Who logged.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) name: String,
    pub(super) pid: u32,
    /// Whether its records begin with that, too.
    pub(super) is_prefixed: bool,
}

/// Gives a record to the owner's logger.
pub(super) fn record(origin: &Origin, parts: &Parts<'_>) {
    let metadata = Metadata::builder().level(parts.level).target(parts.target).build();
    if metadata.level() > log::max_level() {
        return;
    }
    let fields = Fields { of_record: &parts.fields, origin };
    let (prefix, cut) = (fields.prefix(), Cut(parts.n_cut));
    let mut builder = Record::builder();
    builder.metadata(metadata).module_path(parts.module).file(parts.file).line(parts.line).key_values(&fields);
    log::logger().log(&builder.args(format_args!("{prefix}{}{cut}", parts.message)).build());
}

/// Says that records are missing.
pub(super) fn lost(origin: &Origin, n: u32) {
    let records = if n == 1 { "record" } else { "records" };
    say(origin, Level::Warn, &format!("{n} {records} dropped: there was no room for more"));
}

/// Says that no more records will come.
pub(super) fn garbled(origin: &Origin) {
    say(origin, Level::Error, "what it logs is garbled; no more of it is forwarded");
}

fn say(origin: &Origin, level: Level, message: &str) {
    let fields = Vec::new();
    let parts = Parts { level, target: TARGET, module: None, file: None, line: None, fields, message, n_cut: 0 };
    record(origin, &parts);
}

struct Cut(u32);

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(f, " [{} bytes more, cut off]", self.0) }
    }
}

/// The record's key-values, and who it is from: unless it says so itself, having been forwarded to the child by one of its own
/// children.
struct Fields<'a> {
    of_record: &'a [(&'a str, FieldValue<'a>)],
    origin: &'a Origin,
}

impl<'a> Fields<'a> {
    fn of_record(&self, key: &str) -> Option<FieldValue<'a>> {
        self.of_record.iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
    }

    /// Not where the record goes on to another process, which puts its own.
    fn prefix(&self) -> String {
        if !self.origin.is_prefixed || forwarder::is_ours() {
            return String::new();
        }
        match (self.of_record(NAME), self.of_record(PID)) {
            (Some(FieldValue::Text(name)), Some(FieldValue::Unsigned(pid))) => format!("[{name} {pid}] "),
            _ => format!("[{} {}] ", self.origin.name, self.origin.pid),
        }
    }
}

impl Source for Fields<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), Error> {
        for (key, value) in self.of_record {
            visitor.visit_pair(Key::from_str(key), (*value).into())?;
        }
        if self.of_record(PID).is_none() {
            visitor.visit_pair(Key::from_str(NAME), self.origin.name.as_str().into())?;
            visitor.visit_pair(Key::from_str(PID), u64::from(self.origin.pid).into())?;
        }
        Ok(())
    }
}
