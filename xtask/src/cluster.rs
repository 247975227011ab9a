//! Pools over several machines, on a real server.

use std::{fs, path::Path, process::Command};

use crate::{Outcome, cargo, nats, python, run as step};

/// Packages of Python's that the bench compares with; Celery's broker is Redis, from the distribution.
const PEERS: [&str; 4] = ["distributed==2026.8.0", "celery==5.7.0", "redis==8.1.0", "ray==2.60.0"];

/// Runs all tests of the cluster on a server. `--faults [RUNS] [--release]`: only what is killed, eight times each or as often as
/// is said, one after another. `--peers`: the bench, beside others' clusters.
pub(crate) fn run(args: &[String]) -> Outcome {
    let server = nats::found()?;
    let mut tests = cargo(["test", "--package", "cluster"]);
    promise(&mut tests, &server);
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => verify_deployment()?,
        ["--faults", ref options @ ..] => {
            let n_runs = options.iter().find(|option| option.parse::<u32>().is_ok()).unwrap_or(&"8");
            if let Some(unknown) = options.iter().find(|option| *option != n_runs && **option != "--release") {
                return Err(format!("--faults has no option {unknown}: a number of runs, --release"));
            }
            tests.args(options.iter().filter(|option| *option != n_runs));
            let kills = ["costs_nothing", "cost_nothing", "leaves_no"];
            tests
                .args(["--test", "it", "--", "--nocapture", "--test-threads=1"])
                .args(kills)
                .env("CLUSTER_RUNS", n_runs);
        }
        ["--peers"] => {
            let mut bench = cargo(["bench", "--package", "cluster", "--bench", "cluster", "--", "--peers"]);
            if let Some(python) = python::with("cluster", &PEERS) {
                bench.env("BENCH_PYTHON", python);
            }
            return step("bench", bench.env("NATS_SERVER_BIN", &server));
        }
        _ => return Err("the arguments are --faults [RUNS] [--release], or --peers".into()),
    }
    step("cluster", &mut tests)
}

/// With it, a test without a server fails.
fn promise(tests: &mut Command, server: &Path) {
    tests.env("NATS_SERVER_BIN", server).env("CLUSTER_TESTS", "1");
}

/// Has tests use a server; without one, and without a way to get one, that is said.
pub(crate) fn promise_if_possible(tests: &mut Command) {
    match nats::found() {
        Ok(server) => promise(tests, &server),
        Err(why) => eprintln!("SKIPPED: the cluster's tests on a server: {why}"),
    }
}

/// What those who deploy agents copy.
pub(crate) fn verify_deployment() -> Outcome {
    verify_unit()?;
    verify_manifest()
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

/// What a checker of Kubernetes's schemas says to the deployment of agents, if there is one.
fn verify_manifest() -> Outcome {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/cluster/deploy/agent.yaml");
    for (checker, option) in [("kubeconform", "-strict"), ("kubernetes-validate", "--strict")] {
        if let Ok(output) = Command::new(checker).arg(option).arg(&manifest).output() {
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            return output.status.success().then_some(()).ok_or(format!("{checker} on the agent's deployment: {said}"));
        }
    }
    eprintln!("SKIPPED: the schema of the agent's deployment (`pip install kubernetes-validate`, or kubeconform)");
    Ok(())
}
