//! Whether this program has the entry before `main` that starting processes needs.

use std::{env, fs, process::Command};

/// What the entry looks for in the environment.
const MARKER: &str = "PROC_CORE_ENTRY";

/// Whether anything of the crate that starts processes is linked into this program, by the names of its symbols.
pub fn is_linked() -> bool {
    // As symbols are mangled. Put together here, so that the program does not have it from this line.
    let symbol = ["9proc", "core"].join("_").into_bytes();
    let program = fs::read("/proc/self/exe").expect("a program can read itself");
    program.windows(symbol.len()).any(|bytes| bytes == symbol)
}

/// Whether another run of this program gets to `main` with a marker of the entry in its environment: it is asked for the
/// list of its tests.
pub fn is_passed_by() -> bool {
    let program = env::current_exe().expect("a program knows its name");
    let run = Command::new(program).arg("--list").env(MARKER, "server:0").output().expect("a program can be run");
    run.status.success() && String::from_utf8_lossy(&run.stdout).contains(": test")
}
