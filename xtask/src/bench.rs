//! Ours beside everyone's, in one run.

use std::path::Path;

use crate::{Outcome, cargo, run};

pub(crate) fn run_figures(args: &[String]) -> Outcome {
    let mut command = cargo(["run", "--quiet", "--release", "--package", "benches", "--bin", "report", "--"]);
    command.args(args);
    let is_with_python = !args.iter().any(|arg| arg == "--list" || arg == "--help");
    if is_with_python && let Some(python) = python() {
        command.env("BENCH_PYTHON", python);
    }
    run("bench", &mut command)
}

/// The interpreter of an environment of the figures' own, so that what else is installed makes no difference.
fn python() -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let venv = root.join("target/bench/venv");
    let python = venv.join("bin/python");
    if !python.exists() {
        let mut command = std::process::Command::new("python3");
        command.args(["-m", "venv", "--without-pip"]).arg(&venv);
        command.status().ok().filter(std::process::ExitStatus::success)?;
    }
    Some(python.to_str()?.to_owned())
}
