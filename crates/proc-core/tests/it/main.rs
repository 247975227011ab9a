//! Processes as their users see them.

#![allow(
    clippy::exit,
    clippy::unwrap_used,
    clippy::multiple_unsafe_ops_per_block,
    clippy::too_many_arguments,
    reason = "tests"
)]

mod awaiting;
mod claims;
mod constructors;
mod coverage;
mod crash_kinds;
mod crashes;
mod descriptors;
mod ends;
mod entry;
mod handover;
mod kills;
mod leaks;
mod output;
mod panics;
mod preload;
mod relations;
mod starts;

use std::time::Duration;

use proc_core::StartMethod;

/// Those that work in a process with threads, as this test program is.
const METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Spawn];

fn watchdog() -> test_support::Watchdog {
    test_support::watchdog(Duration::from_secs(120))
}

/// How many children of the calling process have ended and have not been reaped.
fn zombies() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let children = threads.flat_map(|thread| {
        let list = std::fs::read_to_string(thread.unwrap().path().join("children")).unwrap_or_default();
        list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    });
    let is_zombie = |pid: &String| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, fields)| fields.trim_start().starts_with('Z'))
    };
    children.filter(is_zombie).count()
}
