//! Loom: every interleaving of a few threads in the state machines on shared words.

use crate::{Outcome, cargo, run as step};

/// Runs the models. They have a target folder of their own, as a flag that changes everything else would otherwise
/// have all of it built again.
pub(crate) fn run() -> Outcome {
    for package in ["sync", "models"] {
        let mut models = cargo(["test", "--quiet", "--release", "--package", package, "--lib"]);
        let models = models.env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", "target/loom");
        step(&format!("loom: {package}"), models)?;
    }
    Ok(())
}
