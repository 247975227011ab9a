//! The owner's side of a record: out of the owner's logger.

use log::{
    Level, Metadata, Record,
    kv::{Error, Key, Source, VisitSource},
};

use super::{
    draft::{Cut, Head, Parts},
    value::FieldValue,
};

/// The keys of the child's name and pid.
pub(super) const NAME: &str = "process.name";
pub(super) const PID: &str = "process.pid";
/// The target of what is logged here about the forwarding itself.
pub(super) const TARGET: &str = "proc_core::logs";

/// The process that logged.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) name: String,
    pub(super) pid: u32,
    /// Whether its records begin with that, too. Not where they go on to another process, which puts its own.
    pub(super) is_prefixed: bool,
}

/// Gives a record to the owner's logger.
pub(super) fn record(origin: &Origin, parts: &Parts<'_>) {
    let Head { level, target, module, file, line } = parts.head;
    let Some(level) = Level::iter().nth(usize::from(level) - 1) else { return };
    let metadata = Metadata::builder().level(level).target(target).build();
    if metadata.level() > log::max_level() {
        return;
    }
    let (prefix, message, cut) = (prefix(origin, parts), parts.message.unwrap_or_default(), Cut(parts.n_cut));
    let fields = ForwardedFields { parts, origin };
    let mut builder = Record::builder();
    builder.metadata(metadata).module_path(module).file(file).line(line).key_values(&fields);
    log::logger().log(&builder.args(format_args!("{prefix}{message}{cut}")).build());
}

/// What is said where records are missing.
pub(super) fn lost(n: u32) -> String {
    format!("{n} {} dropped: there was no room for more", if n == 1 { "record" } else { "records" })
}

/// What is said where no more records will come.
pub(super) const GARBLED: &str = "what it logs is garbled; no more of it is forwarded";

/// What is said of the forwarding itself.
pub(super) fn notice(level: Level, message: &str) -> Parts<'_> {
    let head = Head { level: level as u8, target: TARGET, module: None, file: None, line: None };
    Parts { head, fields: Vec::new(), message: Some(message), n_cut: 0 }
}

/// The record's key-values, and the process that it is from: unless it says so itself, having been forwarded to the child by
/// one of its own children.
struct ForwardedFields<'a> {
    parts: &'a Parts<'a>,
    origin: &'a Origin,
}

impl Source for ForwardedFields<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), Error> {
        for (key, value) in &self.parts.fields {
            visitor.visit_pair(Key::from_str(key), (*value).into())?;
        }
        if self.parts.field(PID).is_none() {
            visitor.visit_pair(Key::from_str(NAME), self.origin.name.as_str().into())?;
            visitor.visit_pair(Key::from_str(PID), u64::from(self.origin.pid).into())?;
        }
        Ok(())
    }
}

/// What comes before the message.
pub(super) fn prefix(origin: &Origin, parts: &Parts<'_>) -> String {
    if !origin.is_prefixed {
        return String::new();
    }
    match (parts.field(NAME), parts.field(PID)) {
        (Some(FieldValue::Text(name)), Some(FieldValue::Unsigned(pid))) => format!("[{name} {pid}] "),
        _ => format!("[{} {}] ", origin.name, origin.pid),
    }
}
