//! Shows what a running program that is built on these crates is doing, from outside.
#![forbid(unsafe_code)]

fn main() {}
