//! The linearizability checker: `crates/linear`, built as what ships is built, or with debug assertions.

use std::{env, process::Command};

use crate::{Outcome, cargo, run as step};

/// Runs the checker; `--debug` is for the build, the other arguments are its own.
pub(crate) fn run(args: &[String]) -> Outcome {
    let own: Vec<String> = args.iter().filter(|arg| *arg != "--debug").cloned().collect();
    if own.len() < args.len() { run_debug(&own) } else { run_built("release", &own) }
}

/// Runs it as a profile of the workspace builds it.
pub(crate) fn run_built(profile: &str, args: &[String]) -> Outcome {
    let mut checker = cargo(["run", "--quiet", "--profile", profile, "-p", "linear", "--"]);
    step(&format!("linear ({profile})"), checker.args(args))
}

/// Runs it with debug assertions, on what the tests have built.
fn run_debug(args: &[String]) -> Outcome {
    step("linear: build", &mut cargo(["build", "--quiet", "-p", "linear", "-p", "unified", "--bin", "linear"]))?;
    let checker = env::current_exe().map_err(|e| format!("where is this program: {e}"))?.with_file_name("linear");
    step("linear (dev)", Command::new(checker).args(args))
}
