//! The scoreboard: `crates/score`, built as what ships is built.

use crate::{Outcome, bench, cargo, run as step};

/// Prints the table; `--peers` gives Python an environment of its own.
pub(crate) fn run(args: &[String]) -> Outcome {
    run_built("release", args)
}

/// The same, as a profile of the workspace builds it.
pub(crate) fn run_built(profile: &str, args: &[String]) -> Outcome {
    let mut score = cargo(["run", "--quiet", "--profile", profile, "-p", "score", "--"]);
    score.args(args);
    if args.iter().any(|arg| arg == "--peers")
        && let Some(python) = bench::python()
    {
        score.env("SCORE_PYTHON", python);
    }
    step("score", &mut score)
}
