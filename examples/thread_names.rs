//! Threads have names, and are joined.

use proc_core::thread::{self, Builder, current};

fn count() {
    println!("{} is running...", current().name());
    for n in 1..=3 {
        println!("{} >>> {n}", current().name());
    }
    println!("{} ended.", current().name());
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{} is running...", current().name());
    Builder::new().name("LoopThread").spawn(count)?.join()?;
    thread::spawn(count).join()?;
    // What a panic prints is up to the program; `join` tells of it in any case.
    thread::set_excepthook(|panic| println!("{} panicked: {}", panic.thread.name(), panic.message));
    let unlucky = Builder::new().name("unlucky").spawn(|| assert!(current().name() == "lucky", "it rained"))?;
    println!("Did join() fail? {}.", unlucky.join().is_err());
    println!("{} ended.", current().name());
    Ok(())
}
