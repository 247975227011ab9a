//! Pools over several machines, on a real server.

use crate::{Outcome, cargo, nats, run as step};

/// Runs all tests of the cluster on a server. `--faults`: only what is killed, eight times each, one after another.
pub(crate) fn run(args: &[String]) -> Outcome {
    let server = nats::found()?;
    let mut tests = cargo(["test", "--package", "cluster"]);
    // With it, a test without a server fails.
    tests.env("NATS_SERVER_BIN", &server).env("CLUSTER_TESTS", "1");
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            let mut example = cargo(["run", "--quiet", "--package", "cluster", "--example", "agent"]);
            step("example agent", example.env("NATS_SERVER_BIN", &server))?;
        }
        ["--faults"] => {
            tests.args(["--test", "it", "faults", "--", "--nocapture", "--test-threads=1"]).env("CLUSTER_RUNS", "8");
        }
        _ => return Err("the only argument is --faults".into()),
    }
    step("cluster", &mut tests)
}

/// All tests, one fault of each kind; without a server, and without a way to get one, that is said.
pub(crate) fn run_if_possible() -> Outcome {
    match nats::found() {
        Ok(_) => run(&[]),
        Err(why) => {
            eprintln!("SKIPPED: the cluster's tests on a server: {why}");
            step("cluster", &mut cargo(["test", "--package", "cluster"]))
        }
    }
}
