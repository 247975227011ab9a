//! All tests of the workspace.

use std::process::{Command, Stdio};

use crate::{Outcome, cargo, cluster, fuzz, run as step};

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
    of_fewer_options()
}

/// What `cargo test` leaves out: the packages that it does not build, on a server where there is one.
pub(crate) fn beside() -> Outcome {
    // All at once, so that what they share is built once for them.
    let mut tests = cargo(["test"]);
    tests.args(packages_beside());
    cluster::promise_if_possible(&mut tests);
    step("tests beside those of `cargo test`", &mut tests)
}

/// The arguments that name what `beside` tests, and `unified`, with which it is built as `cargo test` builds.
pub(crate) fn packages_beside() -> Vec<String> {
    BESIDE.iter().chain(&["unified"]).flat_map(|package| ["--package", package].map(String::from)).collect()
}

/// Whether each crate can be built with fewer features than tests have.
pub(crate) fn of_fewer_options() -> Outcome {
    FEWER.iter().try_for_each(|options| step(&options.join(" "), cargo(["check", "--quiet", "-p"]).args(*options)))
}

/// The members of the workspace that are not its default ones, but for `models`, which has no tests but in loom's world, and the
/// crash lab, whose tests are about the build that judges.
const BESIDE: [&str; 9] = ["benches", "cluster", "linear", "renamed", "score", "service", "test-types", "top", "ui"];

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
