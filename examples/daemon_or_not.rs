//! Daemon or not, join or not: four ways for a program to end.
//!
//! A program waits for its processes when it ends, but not for daemons: those are terminated.

use std::{error::Error, thread::sleep, time::Duration};

use proc_core::{Process, command::run};

fn work() {
    println!("  the worker begins");
    sleep(Duration::from_millis(300));
    println!("  the worker is done");
}

fn one_way(daemon: bool, join: bool) -> Result<(), Box<dyn Error>> {
    let worker = Process::builder().daemon(daemon).spawn(work, ())?;
    if join {
        worker.join()?;
    }
    println!("  main is done");
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [daemon, join] = &arguments[..] {
        return one_way(daemon == "daemon", join == "join");
    }
    // Each way is a run of this program of its own, because it is about how a program ends.
    let program = std::env::current_exe()?.display().to_string();
    for daemon in ["daemon", "no-daemon"] {
        for join in ["join", "no-join"] {
            println!("{daemon}, {join}:");
            print!("{}", String::from_utf8(run([&program, daemon, join])?.stdout)?);
        }
    }
    Ok(())
}
