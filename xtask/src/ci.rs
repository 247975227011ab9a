//! The continuous integration, beside `cargo test`; the same anywhere.

use crate::{Outcome, cargo, circles, cluster, crash, layers, linear, loom, publish, run as step, test, tidy, ui};

/// Checks what `cargo test` does not: format, lints, layers of crates, circles of modules, what the documents name, packages,
/// documentation, what is off by default, the compiler's words, loom models, clusters, the quick set of crash points, and
/// histories of queues. The examples are run by `cargo test`, which checks what they say.
pub(crate) fn run() -> Outcome {
    step("format", &mut cargo(["fmt", "--all", "--check"]))?;
    step("lints", &mut cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    layers::run()?;
    circles::run(&[])?;
    tidy::run()?;
    publish::run()?;
    step("documentation", cargo(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    test::of_options()?;
    ui::run()?;
    loom::run()?;
    cluster::run_if_possible()?;
    crash::run(&[])?;
    linear::run(&["--ops", "2000000"].map(String::from))?;
    linear::run(&["--ops", "500000", "--debug"].map(String::from))
}
