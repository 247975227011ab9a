//! Runs every program of the gallery and checks what it says.
//!
//! They are built with the other examples: `cargo test -p examples`.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod pools;
mod processes;
mod threads;
mod wordcount;

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use test_support::watchdog;

pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) fn program(name: &str) -> Command {
    let this = std::env::current_exe().unwrap();
    let path = this.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is not built: `cargo test -p examples` does that", path.display());
    Command::new(path)
}

/// What it writes; it must succeed.
pub(crate) fn output(name: &str, arguments: &[&str]) -> String {
    let _dog = watchdog(LONG);
    let output = program(name).args(arguments).stdin(Stdio::null()).output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}{err}", output.status);
    out
}

pub(crate) fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    lines
}

/// The lines in order; `#` stands for any number.
#[track_caller]
pub(crate) fn assert_says(text: &str, expected: &str) {
    let masked = |text: &str| {
        let mut masked = String::new();
        for c in text.chars() {
            match c.is_ascii_digit() || c == '#' {
                true if masked.ends_with('#') => {}
                true => masked.push('#'),
                false => masked.push(c),
            }
        }
        masked
    };
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let said: Vec<&str> = text.lines().map(str::trim).collect();
    let same = |(said, expected): (&&str, &&str)| {
        said == expected || (expected.contains('#') && masked(said) == masked(expected))
    };
    assert!(said.len() == expected.len() && said.iter().zip(&expected).all(same), "{text}\n{expected:#?}");
}

/// The lines in any order.
#[track_caller]
pub(crate) fn assert_says_somehow(text: &str, expected: &str) {
    assert_eq!(sorted(text), sorted(expected), "{text}");
}

pub(crate) fn number_after(text: &str, words: &str) -> u32 {
    let (_, rest) = text.split_once(words).unwrap_or_else(|| panic!("{words:?} in {text}"));
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}
