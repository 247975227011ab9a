//! The crash lab: `crates/crash-lab`, built as what ships is built.

use crate::{Outcome, cargo, run as step};

/// Runs the lab; without arguments, its quick set.
pub(crate) fn run(args: &[String]) -> Outcome {
    step("crash points", cargo(["run", "--quiet", "--release", "-p", "crash-lab", "--"]).args(args))
}
