//! iceoryx2's publish-subscribe: a program of its own (`benches/iceoryx2`), which `cargo xtask bench` builds.

use std::{io, process::Command};

/// How many seconds `n` messages of `len` bytes take from one process to another.
///
/// # Errors
/// If the program has not been built, or fails.
pub fn messages(len: usize, n: u64) -> io::Result<f64> {
    number("messages", len, n)
}

/// A message's way to another process and back, in microseconds, when both poll.
///
/// # Errors
/// As [`messages`].
pub fn round_trip(n: u64) -> io::Result<f64> {
    number("round-trip", 8, n)
}

fn number(what: &str, len: usize, n: u64) -> io::Result<f64> {
    let program = std::env::var_os("BENCH_ICEORYX2").ok_or_else(|| io::Error::other("it has not been built"))?;
    let output = Command::new(program).args([what, &len.to_string(), &n.to_string()]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
