//! What works on which host: a table of conditions, each entered by a process of its own, and of operations there. It says
//! what was expected and what happened; `cargo xtask hosts` prints it.

#![allow(clippy::unwrap_used, clippy::exit, reason = "tests")]

mod conditions;
mod groups;
mod operations;
mod resources;

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::Write as _,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use conditions::{CONDITIONS, Condition};
use operations::OPERATIONS;

const CONDITION: &str = "HOSTS_CONDITION";
const REPORT: &str = "HOSTS_REPORT";
const WORKS: &str = "works";
/// What the process under the condition does last.
const EXIT: &str = "exit";

fn main() -> ExitCode {
    if std::env::args().any(|arg| arg == "--list") {
        println!("hosts: test");
        return ExitCode::SUCCESS;
    }
    if let Ok(name) = std::env::var(CONDITION) {
        under(CONDITIONS.iter().find(|condition| condition.name == name).expect("a condition of this program"));
        return ExitCode::SUCCESS;
    }
    let is_root = nix::unistd::geteuid().is_root();
    println!("{:<34} {:<20} {:<30} what happened", "condition", "operation", "expected");
    let (mut n_rows, mut n_skipped, mut n_surprises) = (0, 0, 0);
    for condition in CONDITIONS {
        if condition.needs_root && !is_root {
            println!("{:<34} skipped: needs root", condition.name);
            n_skipped += 1;
            continue;
        }
        if let Some(controller) = condition.group.filter(|controller| !groups::are_there(controller)) {
            println!("{:<34} skipped: no control groups of {controller}", condition.name);
            n_skipped += 1;
            continue;
        }
        let rows = run(condition);
        n_rows += rows.len();
        for (operation, happened) in &rows {
            let expected = condition.expected(operation);
            let is_expected = happened.contains(expected);
            n_surprises += u32::from(!is_expected);
            let mark = if is_expected { "" } else { "  <-- not expected" };
            println!("{:<34} {operation:<20} {expected:<30} {happened}{mark}", condition.name);
        }
        let n_missing = OPERATIONS.len() + condition.more.len() + 1 - rows.len();
        if n_missing > 0 {
            println!("{:<34} ended before {n_missing} of its operations  <-- not expected", condition.name);
            n_surprises += 1;
        }
    }
    println!("{n_rows} rows, {n_skipped} skipped, {n_surprises} surprises");
    ExitCode::from(u8::from(n_surprises > 0))
}

/// Has a process of its own enter the condition and do everything there; what happened.
fn run(condition: &Condition) -> Vec<(String, String)> {
    let dir = Dir::new();
    let report = dir.0.join("report");
    File::create(&report).unwrap().set_permissions(Permissions::from_mode(0o666)).unwrap();
    // Not in the process under the condition: a process with another thread cannot be forked.
    let _dog = test_support::watchdog(Duration::from_secs(120) + Duration::from_millis(100) * operations::n_kills());
    let mut command =
        if condition.is_installed { installed(&dir.0, condition.enter) } else { Command::new("/proc/self/exe") };
    command.env(CONDITION, condition.name).env(REPORT, &report).envs([groups::variable()]);
    let status = command.status().unwrap();
    groups::remove();
    let text = fs::read_to_string(&report).unwrap();
    let rows = text.lines().filter_map(|line| line.split_once('\t'));
    let mut rows: Vec<_> = rows.map(|(operation, happened)| (operation.to_owned(), happened.to_owned())).collect();
    rows.push((EXIT.to_owned(), if status.success() { WORKS.to_owned() } else { status.to_string() }));
    rows
}

/// This program with a file capability, executed by a process that has entered a condition.
fn installed(dir: &Path, enter: fn()) -> Command {
    let program = dir.join("program");
    assert!(Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&program).status().unwrap().success());
    conditions::give_capability(&program);
    let mut command = Command::new(program);
    let entered = move || {
        enter();
        Ok(())
    };
    // SAFETY: system calls. What they allocate is not shared with a thread that could have been in the midst of it: the C
    // library's allocator is ready in a forked child.
    unsafe { command.pre_exec(entered) };
    command
}

/// In the process of its own.
fn under(condition: &Condition) {
    // Opened before, in case that it cannot be found any more.
    let mut report = OpenOptions::new().append(true).open(std::env::var(REPORT).unwrap()).unwrap();
    if condition.starts_before {
        proc_core::Process::spawn(|| (), ()).unwrap().join().unwrap();
    }
    if !condition.is_installed {
        (condition.enter)();
    }
    for (name, operation) in OPERATIONS.iter().chain(condition.more) {
        let happened = match operation() {
            Ok(figures) => format!("{WORKS}{figures}"),
            Err(e) => e.to_string().replace(['\t', '\n'], " "),
        };
        writeln!(report, "{name}\t{happened}").unwrap();
    }
}

/// A directory that everybody may enter, removed in the end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("hosts-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
