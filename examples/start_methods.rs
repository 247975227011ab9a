//! The start methods compared: what the child knows, and how long a start takes.

use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    time::Instant,
};

use proc_core::{Process, ProcessError, StartMethod};

static TOUCHED: AtomicBool = AtomicBool::new(false);

fn inherits() -> bool {
    TOUCHED.load(SeqCst)
}

fn main() -> Result<(), ProcessError> {
    TOUCHED.store(true, SeqCst);
    for method in [StartMethod::Fork, StartMethod::Spawn, StartMethod::ForkServer] {
        let start = || Process::builder().start_method(method).spawn(inherits, ())?.join();
        let inherited = start()?;
        let begun = Instant::now();
        (0..20).try_for_each(|_| start().map(drop))?;
        let knows = if inherited { "a copy of the parent's memory" } else { "fresh memory" };
        println!("{:<11} {:>5} µs a start, {knows}", format!("{method:?}:"), begun.elapsed().as_micros() / 20);
    }
    Ok(())
}
