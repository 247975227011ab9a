//! The continuous integration, beside `cargo test`; the same anywhere.

use crate::{
    Outcome, cargo, circles, cluster, crash, fuzz, lanes, layers, linear, loom, publish, run as step, score, test,
    tidy, unified,
};

/// Checks what `cargo test` does not: format, layers of crates, circles of modules, what the documents name, packages; then, in
/// three lanes at once, lints and the tests of what is off by default; the quick set of crash points, histories of queues and
/// the scoreboard; and loom models and the fuzzers' build, which have target folders of their own, documentation and crates with
/// few features. Each waits for others at times, so that three of them keep two processors busy. The examples are run by `cargo
/// test`, which checks what they say.
pub(crate) fn run() -> Outcome {
    step("format", &mut cargo(["fmt", "--all", "--check"]))?;
    layers::run()?;
    unified::run()?;
    circles::run(&[])?;
    tidy::run()?;
    publish::run()?;
    // The third one builds where the first does only when that one is at its tests, or nearly so.
    lanes::run(&[
        ("debug", &[lints, test::beside, cluster::verify_deployment, histories_with_assertions]),
        ("quick", &[|| crash::run_built(QUICK, &[]), || crash::test_built(QUICK), histories, scoreboard]),
        ("own", &[loom::run_quickly, fuzz::check, documentation, test::of_fewer_options]),
    ])
}

/// How the tools that judge are built here.
const QUICK: &str = "quick";

fn lints() -> Outcome {
    step(
        "lints",
        &mut cargo([
            "clippy",
            "--workspace",
            "--all-targets",
            "--features",
            "examples/cluster",
            "--",
            "-D",
            "warnings",
        ]),
    )
}

fn documentation() -> Outcome {
    step("documentation", cargo(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

/// The rows that nothing else here measures. Those that hold a time against a limit (6, 8, 10) are for a quiet machine; that of
/// leaks (15) needs more cycles than there is time for, to tell them from what an allocator keeps.
fn scoreboard() -> Outcome {
    let rows = ["3", "4", "5", "7", "9", "11", "14", "16"];
    score::run_built(QUICK, &rows.into_iter().flat_map(|row| ["--row".to_owned(), row.to_owned()]).collect::<Vec<_>>())
}

fn histories() -> Outcome {
    linear::run_built(QUICK, &["--ops", "2000000"].map(String::from))
}

fn histories_with_assertions() -> Outcome {
    linear::run(&["--ops", "500000", "--debug"].map(String::from))
}
