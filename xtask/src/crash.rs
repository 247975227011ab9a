//! The crash lab: `crates/crash-lab`, built as what ships is built.

use crate::{Outcome, cargo, run as step};

/// Runs the lab; without arguments, its quick set.
pub(crate) fn run(args: &[String]) -> Outcome {
    step("crash points", cargo(["run", "--quiet", "--release", "-p", "crash-lab", "--"]).args(args))
}

/// Runs the lab without deaths: each system call fails in turn.
pub(crate) fn run_faults(args: &[String]) -> Outcome {
    let mode = ["--mode", "fault", "--full"].map(String::from);
    run(&[&mode, args].concat())
}
