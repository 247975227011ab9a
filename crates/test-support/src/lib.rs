//! What the tests of this workspace share: a [`watchdog()`] for every test that can hang.
//!
//! Knows none of the crates that it helps to test, so that each of them can use it.
#![deny(unsafe_code)]

mod processes;
mod sys;
mod watchdog;

pub use watchdog::{Watchdog, watchdog};
