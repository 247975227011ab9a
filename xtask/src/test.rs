//! All tests of the workspace.

use std::process::{Command, Stdio};

use crate::{Outcome, cargo, fuzz, run as step};

/// Runs unit and integration tests, with nextest (a process each) where that is installed, then the doc tests, which
/// only `cargo test` knows, and the tests of what is off by default. `args` go to the first of them.
pub(crate) fn run(args: &[String]) -> Outcome {
    let args = || args.iter().map(String::as_str);
    let by_nextest = has_nextest();
    if by_nextest {
        step("tests", cargo(["nextest", "run", "--workspace", "--no-tests=pass"]).args(args()))?;
    } else {
        step("tests", cargo(["test", "--workspace"]).args(args()))?;
    }
    if args().next().is_some() {
        return Ok(());
    }
    if by_nextest {
        step("doc tests", &mut cargo(["test", "--workspace", "--doc"]))?;
    }
    fuzz::check()?;
    of_options()
}

/// What `cargo test` leaves out: the tests of what it does not build, and each crate with fewer features than the examples
/// ask for.
pub(crate) fn of_options() -> Outcome {
    step("top, benches", &mut cargo(["test", "-p", "top", "-p", "benches"]))?;
    // Built as `cargo test` builds it, but for this test itself.
    step("types on every path", &mut cargo(["test", "--test", "paths"]))?;
    FEWER.iter().try_for_each(|options| step(&options.join(" "), cargo(["check", "--quiet", "-p"]).args(*options)))
}

/// Crates, with fewer features than their tests have.
const FEWER: [&[&str]; 9] = [
    &["tls"],
    &["sync", "--no-default-features"],
    &["ipc"],
    &["proc-core"],
    &["proc-core", "--features", "log"],
    &["pool"],
    &["pool", "--features", "log"],
    &["pool", "--features", "trace"],
    &["pool", "--features", "tracing"],
];

fn has_nextest() -> bool {
    let mut probe = Command::new("cargo-nextest");
    probe.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}
