//! The crash lab: `crates/crash-lab`, built as what ships is built.

use crate::{Outcome, cargo, run as step};

/// Runs the lab; without arguments, its quick set.
pub(crate) fn run(args: &[String]) -> Outcome {
    run_built("release", args)
}

/// Runs it as a profile of the workspace builds it.
pub(crate) fn run_built(profile: &str, args: &[String]) -> Outcome {
    step("crash points", cargo(["run", "--quiet", "--profile", profile, "-p", "crash-lab", "--"]).args(args))
}

/// Whether it finds the faults that are planted for it, in the build that judges here.
pub(crate) fn test_built(profile: &str) -> Outcome {
    step("crash lab's tests", &mut cargo(["test", "--quiet", "--profile", profile, "-p", "crash-lab"]))
}

/// Runs the lab without deaths: each system call fails in turn.
pub(crate) fn run_faults(args: &[String]) -> Outcome {
    let mode = ["--mode", "fault", "--full"].map(String::from);
    run(&[&mode, args].concat())
}
