//! Talking to another program: what it is to read, what it writes, and how long it may take.

use std::{process::Stdio, time::Duration};

use proc_core::command::{CommandError, Popen};

fn main() -> Result<(), CommandError> {
    let sort = Popen::builder(["sort", "-r"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let output = sort.communicate("apple\ncherry\nbanana\n", Duration::from_secs(10))?;
    print!("sort wrote:\n{}", String::from_utf8_lossy(&output.stdout));

    let pipeline = Popen::builder(["sort"]) | Popen::builder(["uniq", "-c"]);
    let output = pipeline.communicate("b\na\nb\n", None)?;
    print!("sort | uniq -c wrote:\n{}", String::from_utf8_lossy(&output.stdout));

    let slow = Popen::builder(["sleep", "3600"]).spawn()?;
    if let Err(e) = slow.communicate(None, Duration::from_millis(20)) {
        println!("{e}");
    }
    slow.kill()?;
    println!("It ended with {}.", slow.wait()?);
    Ok(())
}
