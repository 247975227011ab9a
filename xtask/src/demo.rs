//! The flagship.

use crate::{Outcome, cargo, run as step};

/// Runs the example `wordcount` as its users would; `args` are its own.
pub(crate) fn run(args: &[String]) -> Outcome {
    step(
        "wordcount",
        cargo(["run", "--quiet", "--release", "-p", "examples", "--example", "wordcount", "--"]).args(args),
    )
}
