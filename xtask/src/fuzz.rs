//! libFuzzer over every decoder and header: `fuzz/`, built with coverage and the address sanitizer.

use std::{path::PathBuf, process::Command};

use crate::{Outcome, cargo, run as step};

/// The compiler is told to take flags that only a nightly one would; no other tool is needed.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=1 -Zsanitizer=address";
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

const TARGETS: &[&str] = &[
    "request", "report", "handover", "pipe", "queue", "joinable", "value", "array", "lane", "shm", "hello", "listener",
    "manager",
];

/// Whether the fuzzers compile, as a part of all tests: they are built by nobody else. Without a network they may lack what
/// they need, and are left out.
pub(crate) fn check() -> Outcome {
    let manifest = ["--quiet", "--manifest-path", "fuzz/Cargo.toml"];
    if let Err(e) = step("fuzzers: fetch", cargo(["fetch"]).args(manifest)) {
        eprintln!("    the fuzzers are not checked: {e}");
        return Ok(());
    }
    let mut check = cargo(["check"]);
    check.args(manifest).env("RUSTFLAGS", "--cfg fuzzing").env("CARGO_TARGET_DIR", "target/fuzzing");
    step("fuzzers: check", &mut check)
}

/// Runs one target or all of them, each for so many seconds: `[TARGET] [--seconds N]`. What they find stays in
/// `target/fuzz`, and what they have learned in a corpus beside it.
pub(crate) fn run(args: &[String]) -> Outcome {
    let (mut seconds, mut only) = ("60", None);
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        match arg {
            "--seconds" => seconds = args.next().ok_or("--seconds N")?,
            name if TARGETS.contains(&name) => only = Some(name),
            other => return Err(format!("{other:?} is none of: {}", TARGETS.join(" "))),
        }
    }
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = root.join("target/fuzz");
    let mut build = cargo(["build", "--quiet", "--release", "--target", TRIPLE, "--manifest-path", "fuzz/Cargo.toml"]);
    step("build", build.env("RUSTFLAGS", FLAGS).env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", &target))?;
    let mut failed = Vec::new();
    for name in TARGETS.iter().filter(|name| only.is_none_or(|only| only == **name)) {
        let corpus = target.join("corpus").join(name);
        std::fs::create_dir_all(&corpus).map_err(|e| format!("{}: {e}", corpus.display()))?;
        let mut fuzzer = Command::new(target.join(TRIPLE).join("release/fuzz"));
        fuzzer.arg(&corpus).env("FUZZ_TARGET", name).env("ASAN_OPTIONS", "detect_leaks=0").current_dir(&target);
        fuzzer.args(["-print_final_stats=1", "-timeout=20", "-rss_limit_mb=2048", "-max_len=4096"]);
        if let Err(e) = step(name, fuzzer.arg(format!("-max_total_time={seconds}"))) {
            failed.push(e);
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
}
