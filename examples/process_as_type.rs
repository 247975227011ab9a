//! A process as a type: its fields are what the process is given, `run` is what it does.

use std::{thread::sleep, time::Duration};

use proc_core::{Process, ProcessError, Runnable, current_process};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct ClockProcess {
    interval: Duration,
    ticks: u32,
}

impl Runnable for ClockProcess {
    type Output = Duration;

    fn run(self) -> Duration {
        for tick in 1..=self.ticks {
            sleep(self.interval);
            println!("{}: tick {tick}", current_process().name());
        }
        self.interval * self.ticks
    }
}

fn main() -> Result<(), ProcessError> {
    let clock = Process::start(ClockProcess { interval: Duration::from_millis(20), ticks: 3 })?;
    println!("The clock ran for {:?}.", clock.join()?);
    Ok(())
}
