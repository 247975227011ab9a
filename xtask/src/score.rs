//! The scoreboard: `crates/score`, built as what ships is built.

use crate::{Outcome, bench, cargo, run as step};

/// What neither `cargo test` (13: hosts) nor another part of `cargo xtask ci` runs (1, 2, 12: crash points), in its short form.
const OF_CI: [&str; 12] = ["3", "4", "5", "6", "7", "8", "9", "10", "11", "14", "15", "16"];

pub(crate) fn run_in_ci() -> Outcome {
    run(&OF_CI.iter().flat_map(|row| ["--row", row]).map(String::from).collect::<Vec<_>>())
}

/// Prints the table; `--peers` gives Python an environment of its own.
pub(crate) fn run(args: &[String]) -> Outcome {
    let mut score = cargo(["run", "--quiet", "--release", "-p", "score", "--"]);
    score.args(args);
    if args.iter().any(|arg| arg == "--peers")
        && let Some(python) = bench::python()
    {
        score.env("SCORE_PYTHON", python);
    }
    step("score", &mut score)
}
