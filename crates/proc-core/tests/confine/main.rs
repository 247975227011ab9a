//! Confined children: what they cannot do, and what they still can.
#![allow(clippy::unwrap_used, clippy::exit, clippy::multiple_unsafe_ops_per_block, reason = "tests")]

mod attempts;
mod escapes;
mod owner;
mod refusals;
mod works;

use std::time::Duration;

use proc_core::{Confinement, Fence, Process, ProcessError};

fn watchdog() -> test_support::Watchdog {
    test_support::watchdog(Duration::from_secs(120))
}

/// Whether this kernel has what that takes; says so if not, and what is left out.
fn has(confinement: &Confinement, test: &str) -> bool {
    match Process::builder().confine(confinement.clone()).spawn(|| (), ()).map(Process::join) {
        Ok(Ok(())) => true,
        Err(ProcessError::CannotConfine { missing }) if !missing.contains(&Fence::Calls) => {
            println!("({test}: left out, as this kernel lacks the fences {missing:?}: no Landlock, or an old one)");
            false
        }
        other => panic!("{other:?}"),
    }
}
