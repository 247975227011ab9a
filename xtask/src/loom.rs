//! Loom: every interleaving of a few threads in the state machines on shared words.

use crate::{Outcome, cargo, run as step};

/// Runs the models with all the switches between threads that each names.
pub(crate) fn run() -> Outcome {
    run_with("release", &[])
}

/// Runs them with at most two switches that nothing forces.
pub(crate) fn run_quickly() -> Outcome {
    run_with("quick", &[("LOOM_QUICK", "1")])
}

/// They have a target folder of their own, as a flag that changes everything else would otherwise have all of it built again.
fn run_with(profile: &str, environment: &[(&str, &str)]) -> Outcome {
    let mut models = cargo(["test", "--quiet", "--profile", profile, "--package", "models", "--lib"]);
    let models = models.env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", "target/loom");
    step("loom", models.envs(environment.iter().copied()))
}
