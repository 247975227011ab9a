//! `fork` is called once and returns twice: in the parent with its child, and in the child.

use std::os::unix::process::parent_id;

use proc_core::{Fork, ProcessError, fork};

fn main() -> Result<(), ProcessError> {
    println!("Process ({}) starts...", std::process::id());
    // SAFETY: this program has one thread.
    match unsafe { fork() }? {
        Fork::Child => println!("I am the child process ({}) and my parent is {}.", std::process::id(), parent_id()),
        Fork::Parent(child) => {
            child.wait()?;
            println!("I ({}) just created a child process ({}).", std::process::id(), child.pid());
        }
    }
    Ok(())
}
