//! Processes do not share variables: each child works on its own copy.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use proc_core::{Process, ProcessError, StartMethod};

static NUMBER: AtomicU32 = AtomicU32::new(100);

fn add(n: u32) {
    NUMBER.fetch_add(n, SeqCst);
    println!("In the child the number is {}.", NUMBER.load(SeqCst));
}

fn main() -> Result<(), ProcessError> {
    println!("In the parent the number is {}.", NUMBER.load(SeqCst));
    for method in [StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Fork] {
        Process::builder().start_method(method).spawn(add, (1,))?.join()?;
    }
    println!("In the parent the number is still {}.", NUMBER.load(SeqCst));
    Ok(())
}
