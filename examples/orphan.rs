//! An orphan: its parent ends before it. A reaper adopts it, and hears how it ends.

use proc_core::{command::run, reaper::Reaper};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // This program starts others with this crate only.
    let reaper = Reaper::builder().exclusive().start()?;
    let output = run(["sh", "-c", "(sleep 0.2; exit 3) & echo $!"])?;
    let orphan: u32 = String::from_utf8(output.stdout)?.trim().parse()?;
    println!("The parent has ended, its child has not.");

    let exit = reaper.exits().recv()?;
    println!("Adopted and reaped: {}.", exit.pid == orphan);
    println!("The orphan ended with {}.", exit.status);
    Ok(())
}
