//! The linearizability checker: `crates/linear`, built as what ships is built, or with debug assertions.

use crate::{Outcome, cargo, run as step};

/// Runs the checker; `--debug` is for the build, the other arguments are its own.
pub(crate) fn run(args: &[String]) -> Outcome {
    let is_debug = args.iter().any(|arg| arg == "--debug");
    let profile = if is_debug { "dev" } else { "release" };
    let mut checker = cargo(["run", "--quiet", "--profile", profile, "-p", "linear", "--"]);
    step(&format!("linear ({profile})"), checker.args(args.iter().filter(|arg| *arg != "--debug")))
}
