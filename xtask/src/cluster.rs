//! Pools over several machines, on a real server.

use std::{fs, path::Path, process::Command};

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
            verify_unit()?;
            let wordcount = ["--package", "examples", "--example", "wordcount", "--features", "cluster"];
            step("wordcount of a cluster", cargo(["check", "--quiet"]).args(wordcount))?;
        }
        ["--faults"] => {
            let kills = ["costs_nothing", "cost_nothing", "leaves_no"];
            tests.args(["--test", "it", "--", "--nocapture", "--test-threads=1"]).args(kills).env("CLUSTER_RUNS", "8");
        }
        _ => return Err("the only argument is --faults".into()),
    }
    step("cluster", &mut tests)
}

/// What systemd says to the unit of an agent, with a program that every host has in the place of the agent's.
fn verify_unit() -> Outcome {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let unit =
        fs::read_to_string(root.join("crates/cluster/deploy/agent.service")).map_err(|e| format!("the unit: {e}"))?;
    let copy = root.join("target/agent.service");
    fs::write(&copy, unit.replace("/opt/agent/program", "/bin/true"))
        .map_err(|e| format!("{}: {e}", copy.display()))?;
    let mut verify = Command::new("systemd-analyze");
    match verify.arg("verify").arg(&copy).output() {
        Ok(output) => {
            // It speaks of the host's own units, too.
            let said = String::from_utf8_lossy(&output.stderr);
            let of_ours: Vec<&str> = said.lines().filter(|line| line.contains("agent.service")).collect();
            if of_ours.is_empty() {
                Ok(())
            } else {
                Err(format!("systemd on the agent's unit: {}", of_ours.join("\n")))
            }
        }
        Err(why) => {
            eprintln!("SKIPPED: systemd-analyze verify of the agent's unit: {why}");
            Ok(())
        }
    }
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
