//! Ours beside everyone's, in one run.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{Outcome, cargo, python, run};

/// Packages of Python's that figures compare with.
const PEERS: [&str; 3] = ["loky", "billiard", "pebble"];

pub(crate) fn run_figures(args: &[String]) -> Outcome {
    let mut command = cargo(["run", "--quiet", "--release", "--package", "benches", "--bin", "report", "--"]);
    command.args(args);
    let is_to_say_something = args.iter().any(|arg| ["--list", "--picture", "--help", "-h"].contains(&arg.as_str()));
    let peers = args.iter().position(|arg| arg == "--peers").and_then(|at| args.get(at + 1));
    let is_wanted = |side: &str| !is_to_say_something && peers.is_none_or(|peers| peers.contains(side));
    if is_wanted("python")
        && let Some(python) = python()
    {
        command.env("BENCH_PYTHON", python);
    }
    if is_wanted("rust")
        && let Some(program) = iceoryx2()
    {
        command.env("BENCH_ICEORYX2", program);
    }
    if !is_to_say_something && let Some(program) = wordcount() {
        command.env("BENCH_WORDCOUNT", program);
    }
    // Without --quick and a choice of figures: after each of these options comes its value.
    let is_of_all = args.chunks(2).all(|pair| ["--peers", "--save", "--against"].contains(&pair[0].as_str()));
    let mut criterion = Ok(());
    if is_of_all {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
        // That of the locks measures figures of the report.
        let benches = ["ipc_queue", "ipc_pipe", "pool", "tls"].into_iter().flat_map(|name| ["--bench", name]);
        criterion = run("benches of criterion", cargo(["bench", "--package", "benches"]).args(benches));
        command.env("BENCH_CRITERION_SINCE", since.to_string());
    }
    run("bench", &mut command).and(criterion)
}

/// The example of that name, which is measured as it is.
fn wordcount() -> Option<PathBuf> {
    let build =
        run("wordcount", &mut cargo(["build", "--quiet", "--release", "-p", "examples", "--example", "wordcount"]));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Some(Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.join("target")),
        |target| Some(target.into()),
    )?;
    build.is_ok().then(|| target.join("release/examples/wordcount"))
}

/// The program that measures iceoryx2. Without a network there may be none, and no figures of its.
fn iceoryx2() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.join("target/bench/iceoryx2");
    let mut build = cargo(["build", "--quiet", "--release", "--manifest-path", "benches/iceoryx2/Cargo.toml"]);
    match run("iceoryx2", build.env("CARGO_TARGET_DIR", &target)) {
        Ok(()) => Some(target.join("release/iceoryx2-peer")),
        Err(e) => {
            eprintln!("    no figures of iceoryx2's: {e}");
            None
        }
    }
}

/// The interpreter that has them, if there can be one.
pub(crate) fn python() -> Option<String> {
    python::with("bench", &PEERS)
}
