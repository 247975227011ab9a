//! Python's peers: `benches/python/peers.py`, which prints a number.

use std::{ffi::OsString, io, path::Path, process::Command};

use crate::figure::{Figure, Side};

/// Adds Python's ways to do the same: what the script calls them, and what the report does.
#[must_use]
pub fn add(figure: Figure, peers: &[(&'static str, &str)]) -> Figure {
    peers.iter().fold(figure, |figure, (args, name)| add_one(figure, name, args.split(' ').map(Into::into).collect()))
}

/// Adds one of them, which the script does for `args`.
#[must_use]
pub fn add_one(figure: Figure, name: &str, args: Vec<OsString>) -> Figure {
    // The first sample is thrown away, and Python needs no warming up.
    let mut is_first = !figure.is_exact;
    figure.case(Side::Python, name, move |_| if std::mem::take(&mut is_first) { Ok(0.0) } else { call(&args) })
}

fn call(args: &[OsString]) -> io::Result<f64> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/peers.py");
    let python = std::env::var_os("BENCH_PYTHON").unwrap_or_else(|| "python3".into());
    let output = Command::new(python).arg(script).args(args).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| {
        let errors = String::from_utf8_lossy(&output.stderr);
        io::Error::other(format!("python: {}", errors.lines().last().unwrap_or("no number came out")))
    })
}
