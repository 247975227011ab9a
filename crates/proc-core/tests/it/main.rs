//! Processes as their users see them.

#![allow(
    clippy::exit,
    clippy::unwrap_used,
    clippy::multiple_unsafe_ops_per_block,
    clippy::too_many_arguments,
    reason = "tests"
)]

mod ends;
mod entry;
mod handover;
mod kills;
mod leaks;
mod relations;
mod starts;

use std::time::Duration;

use proc_core::StartMethod;

/// Those that work in a process with threads, as this test program is.
const METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Spawn];

fn watchdog() -> test_support::Watchdog {
    test_support::watchdog(Duration::from_secs(60))
}
