//! Builds, checks and measures the workspace: `cargo xtask help`.

mod aarch64;
mod bench;
mod ci;
mod circles;
mod cluster;
mod crash;
mod demo;
mod examples;
mod fuzz;
mod hosts;
mod lanes;
mod layers;
mod linear;
mod loom;
mod nats;
mod profile;
mod publish;
mod python;
mod sanitize;
mod score;
mod test;
mod tidy;
mod unified;

use std::{
    ffi::OsStr,
    process::{Command, ExitCode},
    time::Instant,
};

/// What a command ends with; the message is for whoever typed it.
type Outcome = Result<(), String>;

const HELP: &str = "\
usage: cargo xtask COMMAND

  ci                 everything else that must hold before a change lands, beside `cargo test`
  test [ARGS]        all tests of the workspace, doc tests included
  crash [ARGS]       kills processes at every instruction of every operation; `crash --help` says more
  faults [ARGS]      has each system call of every operation fail in turn: `crash --mode fault --full`
  fuzz [TARGET] [--seconds N] [--keep] [--blind]
                     libFuzzer over what other processes may have written; with --keep, fuzz/corpus is made anew; with --blind,
                     that corpus with changes at random, without coverage, hundreds of times as often
  linear [ARGS]      what threads and processes do with a queue is linearizable; `linear --help` says more
  hosts [--full]     what works in chroots, namespaces and sandboxes, as other users, after closed streams; needs root for most;
                     with storms of 30 kills, or of 3,000
  layers             which crates are built into which, against the table of what may be
  unified            whether what packages share is built once for all of them: with the same features
  circles [CRATE]    modules of a crate that need each other in a circle, and private types of one name; either is a failure
  aarch64 [--pages 4|16] [--package NAME]... [TEST]...
                     the tests on an emulated aarch64, with pages of 4 and of 16 KiB; `--package crash-lab OPERATION` is the
                     crash lab there
  cluster [--faults [RUNS] [--release] | --peers]
                     tests of pools over several machines, on a server of NATS: what NATS_SERVER_BIN names, what is on the
                     PATH, or what `nats` installs; with --faults, every kind of death, eight times or RUNS; with --peers,
                     the bench beside Dask, Celery and Ray, which pip installs
  nats               installs that server below target/, by pip and its hash, and says where
  loom               every interleaving in the state machines
  examples [NAME]    runs every example (or one) and expects success
  demo               the flagship: counts words with a pool of processes
  bench [ARGS]       ours beside everyone's, in one run, with a report; `bench --help` says more
  tidy               what the documents name is there: links, files, commands, features, doc tests
  sanitize [thread|address|memcheck] [CRATE]
                     unit tests of what shares memory, under ThreadSanitizer, AddressSanitizer and valgrind's memcheck
  score [ARGS]       what is promised, as figures beside their targets and peers; `score --help` says more
  publish            packs what is to be published, each crate as a registry would take it; uploads nothing
  profile [ARGS]     instructions of single operations, by callgrind; `profile --help` says more
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_else(|| "help".into());
    let rest: Vec<String> = args.collect();
    let outcome = match command.as_str() {
        "ci" => ci::run(),
        "test" => test::run(&rest),
        "aarch64" => aarch64::run(&rest),
        "layers" => layers::run(),
        "unified" => unified::run(),
        "circles" => circles::run(&rest),
        "crash" => crash::run(&rest),
        "faults" => crash::run_faults(&rest),
        "fuzz" => fuzz::run(&rest),
        "linear" => linear::run(&rest),
        "hosts" => hosts::run(&rest),
        "loom" => loom::run(),
        "cluster" => cluster::run(&rest),
        "nats" => nats::run(),
        "examples" => examples::run(rest.first().map(String::as_str)),
        "demo" => demo::run(&rest),
        "bench" => bench::run_figures(&rest),
        "tidy" => tidy::run(),
        "publish" => publish::run(),
        "sanitize" => sanitize::run(&rest),
        "score" => score::run(&rest),
        "profile" => profile::run_operations(&rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(format!("there is no command {other:?}\n\n{HELP}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask {command}: {message}");
            ExitCode::FAILURE
        }
    }
}

/// A `cargo` command, run from the root of the workspace.
fn cargo<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    command
}

/// Runs `command`, says how long it took, and fails if it does.
fn run(what: &str, command: &mut Command) -> Outcome {
    eprintln!("==> {what}");
    let begun = Instant::now();
    let status =
        lanes::status_of(command).map_err(|e| format!("{what}: cannot run {:?}: {e}", command.get_program()))?;
    eprintln!("    {what}: {:.1} s", begun.elapsed().as_secs_f64());
    if status.success() { Ok(()) } else { Err(format!("{what}: {status}")) }
}
