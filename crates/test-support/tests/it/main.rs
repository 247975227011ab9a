//! Tests that need a process of their own to look at from outside.
#![allow(clippy::unwrap_used)]

mod watchdog;
