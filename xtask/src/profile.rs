//! Instruction counts of operations, which noise does not change.

use crate::{Outcome, cargo, run};

pub(crate) fn run_operations(args: &[String]) -> Outcome {
    let mut command = cargo(["run", "--quiet", "--release", "--package", "benches", "--bin", "profile", "--"]);
    run("profile", command.args(args))
}
