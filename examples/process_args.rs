//! A function in a process of its own: with arguments, a name, a pid and a parent.

use proc_core::{Process, ProcessError, current_process, parent_process};

fn greet(whom: String, times: u32) -> u32 {
    let (me, parent) = (current_process(), parent_process().expect("started by this program"));
    println!("{} ({}) is a child of {} ({}).", me.name(), me.pid(), parent.name(), parent.pid());
    (1..=times).for_each(|n| println!("Hello {whom}, number {n}!"));
    times * 10
}

fn main() -> Result<(), ProcessError> {
    println!("{} is process {}.", current_process().name(), std::process::id());
    let child = Process::builder().name("greeter").spawn(greet, ("Bob".into(), 2))?;
    println!("The child is called {} and is process {}.", child.name(), child.pid());
    println!("The child returned {}.", child.join()?);
    Ok(())
}
