//! Running another program, and looking at how it ended.

use proc_core::command::{CommandError, call, run};

fn main() -> Result<(), CommandError> {
    println!("$ echo hello");
    let status = call(["echo", "hello"])?;
    println!("It ended with {status}.");

    println!("$ ls -d /");
    print!("{}", String::from_utf8_lossy(&run(["ls", "-d", "/"])?.stdout));

    if let Err(e) = run(["ls", "/no/such/file"]) {
        println!("{e}");
    }
    if let Err(e) = call(["no-such-program"]) {
        println!("{e}");
    }
    Ok(())
}
