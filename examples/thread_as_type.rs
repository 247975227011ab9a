//! A thread as a type: its fields are what the thread works with, `run` is what it does.

use proc_core::thread::{Runnable, ThreadError, current, start};

struct Countdown {
    from: u32,
}

impl Runnable for Countdown {
    type Output = &'static str;

    fn run(self) -> &'static str {
        for n in (1..=self.from).rev() {
            println!("{}: {n}", current().name());
        }
        "lift-off"
    }
}

fn main() -> Result<(), ThreadError> {
    println!("{}!", start(Countdown { from: 3 }).join()?);
    Ok(())
}
