//! Fuzzers over every decoder and header: `fuzz/`, built with coverage and the address sanitizer for libFuzzer, and plain for
//! `blind`, which changes what libFuzzer has kept.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{Outcome, cargo, run as step};

/// The compiler is told to take flags that only a nightly one would; no other tool is needed.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=1 -Zsanitizer=address";
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

macro_rules! targets {
    ($($module:ident: $($name:ident),+;)+) => {
        const TARGETS: &[&str] = &[$($(stringify!($name)),+),+];
    };
}

// The list that the fuzzers are built from.
include!("../../fuzz/src/targets.rs");

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

/// Runs one target or all of them, each for so many seconds: `[TARGET] [--seconds N] [--keep] [--blind]`. What they find, and
/// all that they have learned, stays in `target/fuzz`. They begin with `fuzz/corpus`, which `--keep` makes anew: of what they
/// know, the short inputs that reach everything. It adds the executions to those of all runs before, `fuzz/executions.tsv`, too.
pub(crate) fn run(args: &[String]) -> Outcome {
    let (mut seconds, mut only, mut keeps, mut is_blind) = ("60", None, false, false);
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        match arg {
            "--seconds" => seconds = args.next().ok_or("--seconds N")?,
            "--keep" => keeps = true,
            "--blind" => is_blind = true,
            name if TARGETS.contains(&name) => only = Some(name),
            other => return Err(format!("{other:?} is none of: {}", TARGETS.join(" "))),
        }
    }
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let root = root.canonicalize().map_err(|e| format!("{}: {e}", root.display()))?;
    let targets: Vec<&str> = TARGETS.iter().copied().filter(|name| only.is_none_or(|only| only == *name)).collect();
    if is_blind { run_blind(&root, &targets, seconds, keeps) } else { run_libfuzzer(&root, &targets, seconds, keeps) }
}

fn run_libfuzzer(root: &Path, targets: &[&str], seconds: &str, keeps: bool) -> Outcome {
    let target = root.join("target/fuzz");
    let mut build = cargo(["build", "--quiet", "--release", "--target", TRIPLE, "--manifest-path", "fuzz/Cargo.toml"]);
    build.args(["--bin", "fuzz"]);
    step("build", build.env("RUSTFLAGS", FLAGS).env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", &target))?;
    let (mut failed, mut n_executions, mut n_run) = (Vec::new(), 0, 0);
    for name in targets {
        let (corpus, kept) = (target.join("corpus").join(name), root.join("fuzz/corpus").join(name));
        for folder in [&corpus, &kept] {
            fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        }
        let fuzzer = || {
            let mut fuzzer = Command::new(target.join(TRIPLE).join("release/fuzz"));
            fuzzer.env("FUZZ_TARGET", name).env("ASAN_OPTIONS", "detect_leaks=0").current_dir(&target);
            fuzzer
        };
        let log = target.join(format!("{name}.log"));
        let said = fs::File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        let mut run = fuzzer();
        run.arg(&corpus).arg(&kept).args([
            "-print_final_stats=1",
            "-timeout=20",
            "-rss_limit_mb=2048",
            "-max_len=4096",
        ]);
        let outcome = step(name, run.arg(format!("-max_total_time={seconds}")).stderr(said));
        let n = executions(&fs::read_to_string(&log).unwrap_or_default());
        eprintln!("    {n} executions");
        (n_executions, n_run) = (n_executions + n, n_run + 1);
        if keeps {
            add(&root.join("fuzz/executions.tsv"), name, n).map_err(|e| format!("the count cannot be kept: {e}"))?;
        }
        if let Err(e) = outcome {
            failed.push(format!("{e}: see {}", log.display()));
        } else if keeps {
            let fresh = target.join("kept").join(name);
            let _ = fs::remove_dir_all(&fresh);
            fs::create_dir_all(&fresh).map_err(|e| format!("{}: {e}", fresh.display()))?;
            let mut merge = fuzzer();
            merge.args(["-set_cover_merge=1", "-max_len=256"]).args([&fresh, &corpus, &kept]).stderr(Stdio::null());
            step("merge", &mut merge)?;
            fs::remove_dir_all(&kept).map_err(|e| format!("{}: {e}", kept.display()))?;
            copy(&fresh, &kept).map_err(|e| format!("{}: {e}", kept.display()))?;
        }
    }
    println!("{n_executions} executions of {n_run} targets, {} failed", failed.len());
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
}

/// Each target in as many processes as there are processors, with other changes in each.
fn run_blind(root: &Path, targets: &[&str], seconds: &str, keeps: bool) -> Outcome {
    let folder = root.join("target/fuzzing");
    let mut build = cargo(["build", "--quiet", "--release", "--manifest-path", "fuzz/Cargo.toml", "--bin", "blind"]);
    step("build", build.env("RUSTFLAGS", "--cfg fuzzing").env("CARGO_TARGET_DIR", &folder))?;
    let n_processes = thread::available_parallelism().map_or(1, usize::from);
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
    let (mut failed, mut n_executions) = (Vec::new(), 0);
    for name in targets {
        let one = |i: usize| {
            let kept = folder.join(format!("blind-{name}-{i}"));
            let mut blind = Command::new(folder.join("release/blind"));
            blind.args([name, seconds, &seed.wrapping_add(i as u64).to_string()]).arg(&kept);
            blind.args([root.join("fuzz/corpus").join(name), root.join("target/fuzz/corpus").join(name)]);
            (kept, blind.stdin(Stdio::null()).stderr(Stdio::piped()).output())
        };
        let ends: Vec<(PathBuf, std::io::Result<Output>)> = thread::scope(|scope| {
            let running: Vec<_> = (0..n_processes).map(|i| scope.spawn(move || one(i))).collect();
            running.into_iter().map(|one| one.join().expect("it only waits")).collect()
        });
        let mut n = 0;
        for (kept, end) in ends {
            let output = end.map_err(|e| format!("blind: {e}"))?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            n += said.split_once(" executions").and_then(|(n, _)| n.trim().parse::<u64>().ok()).unwrap_or(0);
            if !output.status.success() {
                let last = String::from_utf8_lossy(&output.stderr).into_owned();
                failed.push(format!("{name}: {}: its length and the input: {}\n{last}", output.status, kept.display()));
            }
        }
        eprintln!("{name}: {n} executions");
        n_executions += n;
        if keeps {
            add(&root.join("fuzz/executions.tsv"), name, n).map_err(|e| format!("the count cannot be kept: {e}"))?;
        }
    }
    println!("{n_executions} executions of {} targets, {} failed", targets.len(), failed.len());
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
}

/// What libFuzzer says at its end, or last before it found something.
fn executions(said: &str) -> u64 {
    let counted = said.lines().rev().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let last = || said.lines().rev().find_map(|line| line.strip_prefix('#')?.split('\t').next());
    counted.or_else(last).and_then(|n| n.trim().parse().ok()).unwrap_or(0)
}

/// Counts `n` more of one target.
fn add(path: &Path, name: &str, n: u64) -> std::io::Result<()> {
    fs::write(path, sums(&fs::read_to_string(path).unwrap_or_default(), name, n))
}

/// `NAME\tEXECUTIONS`, a line each.
fn sums(before: &str, name: &str, n: u64) -> String {
    let lines = before.lines().filter_map(|line| line.split_once('\t'));
    let mut sums: BTreeMap<_, u64> = lines.filter_map(|(name, n)| Some((name, n.parse().ok()?))).collect();
    *sums.entry(name).or_default() += n;
    sums.iter().map(|(name, n)| format!("{name}\t{n}\n")).collect()
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executions_are_counted_whether_or_not_it_ended_well() {
        assert_eq!(executions("#2\tINITED\nDone\nstat::number_of_executed_units: 4711\nstat::x: 1\n"), 4711);
        assert_eq!(executions("#2\tINITED cov: 2\n#1024\tNEW cov: 3\npanicked\n"), 1024);
        assert_eq!(executions(""), 0);
    }

    #[test]
    fn runs_are_summed() {
        assert_eq!(sums("", "pipe", 5), "pipe\t5\n");
        assert_eq!(sums("pipe\t5\nqueue\t7\n", "pipe", 10), "pipe\t15\nqueue\t7\n");
    }
}
