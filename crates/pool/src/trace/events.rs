//! Writes slices in rows as what trace viewers open.
//!
//! The format is the [Trace Event Format](https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU):
//! one JSON object, with a complete event (`X`) for each slice and metadata events (`M`) for the names of processes and rows.
//!
//! Written by hand: a program whose crates have `serde_json` among them has more types to compare numbers with, and an
//! `assert_eq!(a, items.sum())` of its own may not compile any more.

use std::{
    borrow::Cow,
    collections::HashSet,
    fmt,
    io::{self, Write},
    time::Duration,
};

/// A span of time in a row.
#[derive(Clone, Debug)]
pub struct Slice {
    /// The process whose rows it is shown among.
    pub process: u32,
    /// The row: a thread's id, or that of a process with one thread.
    pub row: u32,
    /// What stands in it.
    pub name: Cow<'static, str>,
    /// Since the trace's begin.
    pub begin: Duration,
    /// How long it is.
    pub length: Duration,
    /// What a viewer shows beside it.
    pub args: Vec<(&'static str, Arg)>,
}

/// A remark's value.
#[derive(Clone, Debug)]
pub enum Arg {
    /// A number.
    Number(u64),
    /// Any text.
    Text(String),
}

/// The events of one trace.
#[derive(Clone, Debug, Default)]
pub struct Events {
    names: Vec<Name>,
    known: HashSet<(u32, Option<u32>)>,
    slices: Vec<Slice>,
}

/// What a process is called, or one of its rows.
#[derive(Clone, Debug)]
struct Name {
    process: u32,
    row: Option<u32>,
    name: String,
}

impl Events {
    /// Names a process, unless it has a name.
    pub fn name_process(&mut self, process: u32, name: impl FnOnce() -> String) {
        self.name(process, None, name);
    }

    /// Names a row, unless it has a name.
    pub fn name_row(&mut self, process: u32, row: u32, name: impl FnOnce() -> String) {
        self.name(process, Some(row), name);
    }

    fn name(&mut self, process: u32, row: Option<u32>, name: impl FnOnce() -> String) {
        if self.known.insert((process, row)) {
            self.names.push(Name { process, row, name: name() });
        }
    }

    /// Adds a slice, and returns its number.
    pub fn add(&mut self, slice: Slice) -> usize {
        self.slices.push(slice);
        self.slices.len() - 1
    }

    /// Gives the slice of that number another name.
    pub fn rename(&mut self, number: usize, name: String) {
        if let Some(slice) = self.slices.get_mut(number) {
            slice.name = name.into();
        }
    }

    /// How many slices there are.
    pub fn n_slices(&self) -> usize {
        self.slices.len()
    }

    /// Writes all of it, with `about`: remarks on the whole. Returns how many slices there are.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, mut out: impl Write, about: &[(&'static str, Arg)]) -> io::Result<usize> {
        let mut between = "";
        out.write_all(b"{\"traceEvents\":[")?;
        for Name { process, row, name } in &self.names {
            let (kind, row) = row.as_ref().map_or(("process_name", process), |row| ("thread_name", row));
            write!(
                out,
                "{between}\n{{\"ph\":\"M\",\"name\":\"{kind}\",\"pid\":{process},\"tid\":{row},\"args\":{{\"name\":"
            )?;
            write_text(&mut out, name)?;
            out.write_all(b"}}")?;
            between = ",";
        }
        for Slice { process, row, name, begin, length, args } in &self.slices {
            let (begin, length) = (Micros(*begin), Micros(*length));
            write!(
                out,
                "{between}\n{{\"ph\":\"X\",\"cat\":\"task\",\"pid\":{process},\"tid\":{row},\"ts\":{begin},\"dur\":{length},"
            )?;
            out.write_all(b"\"name\":")?;
            write_text(&mut out, name)?;
            out.write_all(b",\"args\":")?;
            write_args(&mut out, args)?;
            out.write_all(b"}")?;
            between = ",";
        }
        out.write_all(b"\n],\"displayTimeUnit\":\"ms\",\"otherData\":")?;
        write_args(&mut out, about)?;
        out.write_all(b"}\n")?;
        out.flush()?;
        Ok(self.slices.len())
    }
}

/// The format's unit of time.
struct Micros(Duration);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        write!(f, "{}.{:03}", nanos / 1000, nanos % 1000)
    }
}

fn write_args(out: &mut impl Write, args: &[(&'static str, Arg)]) -> io::Result<()> {
    let mut between = "{";
    for (key, value) in args {
        out.write_all(between.as_bytes())?;
        write_text(out, key)?;
        out.write_all(b":")?;
        match value {
            Arg::Number(n) => write!(out, "{n}")?,
            Arg::Text(text) => write_text(out, text)?,
        }
        between = ",";
    }
    out.write_all(if args.is_empty() { b"{}" } else { b"}" })
}

/// A text in quotes. All that moves a cursor is escaped, also where JSON does not ask for it.
fn write_text(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(b"\"")?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(out, "\\{c}")?,
            c if c.is_control() => write!(out, "\\u{:04x}", u32::from(c))?,
            c => write!(out, "{c}")?,
        }
    }
    out.write_all(b"\"")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn written(events: &Events) -> Value {
        let mut bytes = Vec::new();
        events.write(&mut bytes, &[("by", Arg::Text("a \"test\"\\\n\u{9b}ä".into()))]).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn rows_are_named_once_and_slices_are_in_microseconds() {
        let mut events = Events::default();
        for _ in 0..2 {
            events.name_process(7, || "program \"x\"".into());
            events.name_row(7, 7, || "row".into());
        }
        let (begin, length) = (Duration::from_nanos(1500), Duration::from_millis(2));
        let slice = Slice { process: 7, row: 7, name: "task".into(), begin, length, args: vec![("n", Arg::Number(7))] };
        let number = events.add(slice);
        events.rename(number, "f\u{1b}".into());
        events.rename(number + 1, "nobody".into());
        let trace = written(&events);
        let all = trace["traceEvents"].as_array().unwrap();
        assert_eq!(all.len(), 3, "{trace}");
        assert_eq!((&all[0]["name"], &all[0]["args"]["name"]), (&json!("process_name"), &json!("program \"x\"")));
        assert_eq!((&all[1]["name"], &all[1]["args"]["name"]), (&json!("thread_name"), &json!("row")));
        let times = (&all[2]["name"], &all[2]["ts"], &all[2]["dur"]);
        assert_eq!(times, (&json!("f\u{1b}"), &json!(1.5), &json!(2000.0)));
        assert_eq!((&all[2]["args"], &trace["otherData"]["by"]), (&json!({"n": 7}), &json!("a \"test\"\\\n\u{9b}ä")));
    }

    #[test]
    fn a_trace_of_nothing_is_one_too() {
        assert_eq!(written(&Events::default())["traceEvents"], json!([]));
    }
}
