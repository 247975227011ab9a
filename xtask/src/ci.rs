//! The continuous integration, beside `cargo test`; the same anywhere.

use crate::{
    Outcome, cargo, circles, cluster, crash, fuzz, lanes, layers, linear, loom, publish, run as step, score, test,
    tidy, ui,
};

/// Checks what `cargo test` does not: format, layers of crates, circles of modules, what the documents name, packages; then, in
/// three lanes at once, lints, documentation and the tests of what is off by default; the quick set of crash points, histories
/// of queues and the scoreboard; and what has target folders of its own: the compiler's words, loom models and the fuzzers' build.
/// Each waits for others at times, so that three of them keep two processors busy. The examples are run by `cargo test`, which
/// checks what they say.
pub(crate) fn run() -> Outcome {
    step("format", &mut cargo(["fmt", "--all", "--check"]))?;
    layers::run()?;
    circles::run(&[])?;
    tidy::run()?;
    publish::run()?;
    // What one lane builds is in no folder that another waits for.
    lanes::run(&[
        ("debug", &[lints, documentation, test::beside, cluster::verify_deployment, histories_with_assertions]),
        ("release", &[|| crash::run(&[]), histories, scoreboard]),
        ("own", &[loom::run_quickly, ui::run, fuzz::check]),
    ])
}

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
    score::run(&rows.into_iter().flat_map(|row| ["--row".to_owned(), row.to_owned()]).collect::<Vec<_>>())
}

fn histories() -> Outcome {
    linear::run(&["--ops", "2000000"].map(String::from))
}

fn histories_with_assertions() -> Outcome {
    linear::run(&["--ops", "500000", "--debug"].map(String::from))
}
