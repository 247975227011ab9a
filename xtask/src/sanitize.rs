//! Sanitizers over the crates that share memory: their unit tests under ThreadSanitizer, AddressSanitizer and valgrind's
//! memcheck. ThreadSanitizer sees the threads of one process, so what it checks are protocols between threads; for
//! processes there are `cargo xtask loom` and `cargo xtask crash`.
//!
//! Each tool is itself tried first: it must report the fault that `planted.rs` has for it, and nothing else there.

mod sysroot;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Outcome, cargo, run as step};

const TRIPLE: &str = "x86_64-unknown-linux-gnu";

const PACKAGES: [&str; 5] = ["wire", "lane", "sync", "kernel", "ipc"];

/// Tests that a tool does not run, by their whole names, and why.
const SKIPPED: [(&str, &str, &str); 7] = [
    (
        "address",
        "stack::tests::half_of_any_stack_can_be_used",
        "its frames lie beside the stack, until there is no room: then they are on it, and several times as long",
    ),
    ("memcheck", "identity::tests::a_zombie_is_dead", NO_PIDFD),
    ("memcheck", "liveness::tests::a_pid_of_another_namespace_is_nobody_s", NO_PIDFD),
    ("memcheck", "liveness::tests::through_another_file_nobody_is_dead", NO_PIDFD),
    (
        "memcheck",
        "process::raw::tests::a_killed_waiter_takes_nothing_from_its_namesake",
        "steps through a process by single instructions: those that it would see are valgrind's",
    ),
    (
        "memcheck",
        "queue::hostile::a_header_that_contradicts_itself_is_refused",
        "maps the whole file of a queue, four tebibytes, for which valgrind has no room",
    ),
    (
        "memcheck",
        "queue::tests::a_message_that_nobody_takes_is_told_of_now_and_then",
        "without `futex_waitv`, which valgrind 3.19 lacks, the reactor looks more often than the test allows",
    ),
];

const NO_PIDFD: &str = "needs `pidfd_open`, which valgrind 3.19 lacks";

/// What ThreadSanitizer is not to report, and why: a kind, and a function that is in each of its stacks.
const SUPPRESSIONS: [(&str, &str); 1] = [(
    "thread:^kernel::helper::start",
    "a helper that has ended is joined when the next one starts; the last ones, by the end of the process",
)];

/// Functions that `unseen.rs` stands before.
const WRAPPED: [&str; 3] = ["__tsan_atomic64_fetch_sub", "__tsan_atomic_thread_fence", "syscall"];

struct Tool {
    name: &'static str,
    /// What the compiler is told.
    flags: &'static [&'static str],
    /// Begins a report.
    mark: &'static str,
}

const TOOLS: [Tool; 3] = [
    Tool {
        name: "thread",
        flags: &["-Zsanitizer=thread", "-Cunsafe-allow-abi-mismatch=sanitizer", "--cfg=tsan"],
        mark: "WARNING: ThreadSanitizer",
    },
    Tool { name: "address", flags: &["-Zsanitizer=address"], mark: "ERROR: AddressSanitizer" },
    // Each line of a report begins so; what else valgrind has to say, such as of calls that it does not know, begins with "--".
    Tool { name: "memcheck", flags: &[], mark: "==" },
];

/// What came of one tool's run of some tests.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    n_tests: u64,
    n_failed: u64,
    n_reports: u64,
}

/// `[thread|address|memcheck]... [PACKAGE]...`: all of either, if none is named. The last line is for the scoreboard.
pub(crate) fn run(args: &[String]) -> Outcome {
    for arg in args {
        if !PACKAGES.contains(&&**arg) && !TOOLS.iter().any(|tool| tool.name == arg) {
            return Err(format!("{arg:?} is neither thread, address or memcheck, nor one of: {}", PACKAGES.join(" ")));
        }
    }
    let chosen = |name: &str, is_one: fn(&str) -> bool| {
        args.iter().any(|arg| arg == name) || !args.iter().any(|arg| is_one(arg))
    };
    let packages = PACKAGES.iter().filter(|name| chosen(name, |arg| PACKAGES.contains(&arg)));
    let packages: Vec<_> = packages.copied().collect();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let root = root.canonicalize().map_err(|e| format!("{}: {e}", root.display()))?;
    let (mut all, mut failed) = (Sum::default(), Vec::new());
    for tool in TOOLS.iter().filter(|tool| chosen(tool.name, |arg| TOOLS.iter().any(|tool| tool.name == arg))) {
        let flags = flags(tool, &root)?;
        try_out(tool, &flags, &root)?;
        for (package, program) in build(tool, &flags, &packages, &root)? {
            let sum = judge(tool, &package, &program, &root)?;
            println!(
                "{}, {package}: {} tests, {} failed, {} reports",
                tool.name, sum.n_tests, sum.n_failed, sum.n_reports
            );
            if sum.n_failed + sum.n_reports > 0 || sum.n_tests == 0 {
                failed.push(format!("{} of {package}", tool.name));
            }
            all.n_tests += sum.n_tests;
            all.n_failed += sum.n_failed;
            all.n_reports += sum.n_reports;
        }
    }
    println!("{} tests under sanitizers, {} failed, {} reports", all.n_tests, all.n_failed, all.n_reports);
    if failed.is_empty() { Ok(()) } else { Err(format!("{}: see target/sanitize", failed.join(", "))) }
}

/// Where what is built for a tool lies: a target folder of its own.
fn target(tool: &Tool, root: &Path) -> PathBuf {
    root.join("target").join(format!("sanitize-{}", tool.name))
}

fn rustc() -> std::ffi::OsString {
    std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())
}

/// What the compiler is told, one argument each.
fn flags(tool: &Tool, root: &Path) -> Result<Vec<String>, String> {
    let mut flags: Vec<_> = tool.flags.iter().map(|&flag| flag.to_owned()).collect();
    if tool.name == "thread" {
        let home = target(tool, root);
        fs::create_dir_all(&home).map_err(|e| format!("{}: {e}", home.display()))?;
        flags.push(format!("--sysroot={}", sysroot::build(&home)?.display()));
        let unseen = home.join("unseen.o");
        let mut compile = compile(root, "unseen", &unseen);
        step(
            "thread: what it does not see",
            compile.args(["--crate-type=lib", "--emit=obj", "-Cpanic=abort", "-Copt-level=2"]),
        )?;
        flags.push(format!("-Clink-arg={}", unseen.display()));
        flags.extend(WRAPPED.map(|function| format!("-Clink-arg=-Wl,--wrap={function}")));
    }
    Ok(flags)
}

/// Compiles one of the files that no crate has.
fn compile(root: &Path, name: &str, to: &Path) -> Command {
    let mut compile = Command::new(rustc());
    compile.arg(root.join(format!("xtask/src/sanitize/{name}.rs"))).arg("-o").arg(to);
    compile.args(["--edition=2024", "--target", TRIPLE]).env("RUSTC_BOOTSTRAP", "1");
    compile
}

/// Whether the tool finds what it is there for, set up as it is here, and does not find what is not there.
fn try_out(tool: &Tool, flags: &[String], root: &Path) -> Outcome {
    let program = target(tool, root).join("planted");
    fs::create_dir_all(target(tool, root)).map_err(|e| e.to_string())?;
    let mut compile = compile(root, "planted", &program);
    compile.args(["--test", "-Cdebuginfo=line-tables-only"]).args(flags);
    step(&format!("{}: planted faults", tool.name), &mut compile)?;
    let planted = under(tool, &["--exact", &format!("planted_{}", tool.name)], &program, "planted", root)?;
    let clean = under(tool, &["clean"], &program, "clean", root)?;
    let is_clean = clean.n_tests > 0 && clean.n_failed + clean.n_reports == 0;
    if planted.n_reports == 0 {
        Err(format!("{} does not find the fault that was planted for it", tool.name))
    } else if is_clean {
        Ok(())
    } else {
        Err(format!("{} finds faults where there are none, see target/sanitize/{0}/clean", tool.name))
    }
}

/// The unit tests of each package, built for the tool.
fn build(tool: &Tool, flags: &[String], packages: &[&str], root: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let mut build = cargo(["test", "--no-run", "--lib", "--target", TRIPLE]);
    build.args(packages.iter().flat_map(|name| ["--package", name]));
    build.env("CARGO_TARGET_DIR", target(tool, root));
    if !flags.is_empty() {
        build.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")).env("RUSTC_BOOTSTRAP", "1");
    }
    step(&format!("{}: build", tool.name), &mut build)?;
    // Now that all is built, cargo only says where.
    let told = build.stderr(Stdio::piped()).output().map_err(|e| e.to_string())?;
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    let programs: Vec<_> = told.lines().filter_map(|line| executable(line, root)).collect();
    if programs.len() == packages.len() { Ok(programs) } else { Err(format!("not all tests were built:\n{told}")) }
}

/// `Executable unittests src/lib.rs (target/debug/deps/sync-0123)`
fn executable(line: &str, root: &Path) -> Option<(String, PathBuf)> {
    let (_, path) = line.trim_start().strip_prefix("Executable ")?.split_once(" (")?;
    let path = root.join(path.trim_end().trim_end_matches(')'));
    let package = path.file_name()?.to_string_lossy().rsplit_once('-')?.0.replace('_', "-");
    Some((package, path))
}

/// Runs the tests of a package.
fn judge(tool: &Tool, package: &str, program: &Path, root: &Path) -> Result<Sum, String> {
    let skipped = SKIPPED.iter().filter(|(of, ..)| *of == tool.name);
    let mut args: Vec<_> = skipped.flat_map(|(_, test, _)| ["--skip", test]).collect();
    args.extend(["--exact", "--test-threads", "2"]);
    under(tool, &args, program, package, root)
}

/// Runs the tests of one program. Every process of it writes its reports into a file of its own; one that has lost its
/// environment writes them where its errors go.
fn under(tool: &Tool, args: &[&str], program: &Path, name: &str, root: &Path) -> Result<Sum, String> {
    let home = root.join("target/sanitize").join(tool.name).join(name);
    let _ = fs::remove_dir_all(&home);
    fs::create_dir_all(&home).map_err(|e| format!("{}: {e}", home.display()))?;
    let log = home.join("report");
    let mut tests = if tool.name == "memcheck" {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--quiet", "--fair-sched=yes", "--error-exitcode=99", "--num-callers=30"]);
        valgrind.arg(format!("--log-file={}.%p", log.display())).arg(program);
        valgrind
    } else {
        Command::new(program)
    };
    let suppressions = home.join("suppressions");
    let races: String = SUPPRESSIONS.iter().map(|(what, _)| format!("{what}\n")).collect();
    fs::write(&suppressions, races).map_err(|e| format!("{}: {e}", suppressions.display()))?;
    let log = log.display();
    tests.env("TSAN_OPTIONS", format!("log_path={log}:suppressions={}", suppressions.display()));
    // What lives as long as the process is no leak, and the processes that are killed free nothing.
    tests.env("ASAN_OPTIONS", format!("log_path={log}:detect_leaks=0"));
    tests.env("WATCHDOG_TIMES", "40").args(args);
    let folder = root.join("crates").join(name);
    tests.current_dir(if folder.is_dir() { &folder } else { root });
    eprintln!("==> {}: {name}", tool.name);
    let output = tests.stdin(Stdio::null()).output().map_err(|e| format!("{}: {e}", tool.name))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let _ = fs::write(home.join("said"), [&*output.stdout, &*output.stderr].concat());
    let (n_tests, n_failed) = counts(&said).unwrap_or_default();
    // A program that a tool ends says nothing of tests at its end.
    let mut n_reports = u64::from(counts(&said).is_none());
    if tool.name != "memcheck" {
        n_reports += reports(&said, tool) + reports(&String::from_utf8_lossy(&output.stderr), tool);
    }
    for entry in fs::read_dir(&home).map_err(|e| e.to_string())?.flatten() {
        if entry.file_name().to_string_lossy().starts_with("report.") {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            n_reports += reports(&text, tool);
        }
    }
    Ok(Sum { n_tests, n_failed, n_reports })
}

/// How many tests have passed, and how many have failed, by the summary.
fn counts(said: &str) -> Option<(u64, u64)> {
    let number = |word: &str, line: &str| line.split(word).next()?.trim_end().rsplit(' ').next()?.parse().ok();
    let line = said.lines().rev().find(|line| line.starts_with("test result:"))?;
    Some((number(" passed", line)?, number(" failed", line)?))
}

/// How many reports there are; of valgrind's, which have no beginning of their own, whether there is any.
fn reports(text: &str, tool: &Tool) -> u64 {
    if tool.name == "memcheck" {
        u64::from(text.lines().any(|line| line.starts_with(tool.mark)))
    } else {
        text.matches(tool.mark).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_and_reports_are_read() {
        let said = "running 3 tests\ntest result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 2 filtered out\n";
        assert_eq!(counts(said), Some((12, 3)));
        assert_eq!(counts("nothing"), None);
        assert_eq!(reports("x WARNING: ThreadSanitizer: race\nWARNING: ThreadSanitizer: race", &TOOLS[0]), 2);
        assert_eq!((reports("==1== Invalid read\n", &TOOLS[2]), reports("--1-- call: 434\n", &TOOLS[2])), (1, 0));
        let line = "  Executable unittests src/lib.rs (target/x/debug/deps/proc_core-0a1b)";
        assert_eq!(executable(line, Path::new("/r")).map(|(package, _)| package).as_deref(), Some("proc-core"));
    }
}
