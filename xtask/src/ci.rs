//! The continuous integration, beside `cargo test`; the same anywhere.

use crate::{
    Outcome, cargo, circles, cluster, crash, fuzz, lanes, layers, linear, loom, publish, run as step, test, tidy, ui,
};

/// Checks what `cargo test` does not: format, layers of crates, circles of modules, what the documents name, packages; then, in
/// two lanes at once, lints, documentation, what is off by default and clusters, and the compiler's words, loom models, the
/// quick set of crash points, histories of queues and the fuzzers' build. The examples are run by `cargo test`, which checks what they say.
pub(crate) fn run() -> Outcome {
    step("format", &mut cargo(["fmt", "--all", "--check"]))?;
    layers::run()?;
    circles::run(&[])?;
    tidy::run()?;
    publish::run()?;
    // What one lane builds is in no folder that the other waits for.
    lanes::run(&[
        ("debug", &[lints, documentation, test::of_options, cluster::run_if_possible, histories_with_assertions]),
        ("release", &[ui::run, loom::run, || crash::run(&[]), histories, fuzz::check]),
    ])
}

fn lints() -> Outcome {
    step("lints", &mut cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn documentation() -> Outcome {
    step("documentation", cargo(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

fn histories() -> Outcome {
    linear::run(&["--ops", "2000000"].map(String::from))
}

fn histories_with_assertions() -> Outcome {
    linear::run(&["--ops", "500000", "--debug"].map(String::from))
}
