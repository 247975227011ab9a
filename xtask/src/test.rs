//! All tests of the workspace.

use std::process::{Command, Stdio};

use crate::{Outcome, cargo, run as step};

/// Runs unit and integration tests, with nextest (a process each) where that is installed, and then the doc tests,
/// which only `cargo test` knows. `args` go to the first of the two.
pub(crate) fn run(args: &[String]) -> Outcome {
    let args = || args.iter().map(String::as_str);
    if !has_nextest() {
        return step("tests", cargo(["test", "--workspace"]).args(args()));
    }
    step("tests", cargo(["nextest", "run", "--workspace", "--no-tests=pass"]).args(args()))?;
    if args().next().is_some() {
        return Ok(());
    }
    step("doc tests", &mut cargo(["test", "--workspace", "--doc"]))
}

fn has_nextest() -> bool {
    let mut probe = Command::new("cargo-nextest");
    probe.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}
