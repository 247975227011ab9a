//! A zombie: a child that has ended, and whose parent has not asked how. It goes when the parent asks.

use std::process::Command;

use proc_core::{reaper::zombies, wait_any};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("Zombies before: {}.", zombies().len());
    // Of std: processes of this crate are reaped by themselves.
    let mut child = Command::new("sh").args(["-c", "exit 7"]).stdout(std::process::Stdio::piped()).spawn()?;
    // Its end of the pipe is closed when it ends.
    let pipe = child.stdout.take().expect("a pipe was asked for");
    wait_any(&[&pipe], None)?;
    while zombies().is_empty() {
        std::thread::yield_now();
    }
    for zombie in zombies() {
        println!("{} is a zombie: {}.", zombie.name, zombie.pid == child.id());
    }
    println!("Waiting for it says: {}.", child.wait()?);
    println!("Zombies after: {}.", zombies().len());
    Ok(())
}
