//! Process 1 of a container: `init [COMMAND ARGS…]` runs a command, passes signals on to it, and reaps every orphan.
//!
//! Try `unshare --pid --fork --mount-proc target/debug/examples/init sh`.

use std::{error::Error, os::unix::process::ExitStatusExt, process::Command, process::exit};

use proc_core::reaper;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let status = match arguments.next() {
        Some(program) => reaper::init(Command::new(program).args(arguments))?,
        None => reaper::init(Command::new("sh").args(["-c", "sleep 0.1 & echo The shell leaves an orphan behind."]))?,
    };
    // As a shell does: process 1 cannot end by a signal.
    exit(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
}
