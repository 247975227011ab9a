//! Programs that show what this project is for: `cargo run --release --example NAME`, see `README.md` beside this file.

/// The code in the project's README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The code for those who come from Python compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../MIGRATING.md")]
struct Migrating;
