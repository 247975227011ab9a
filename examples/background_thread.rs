//! A thread in the background: a daemon thread does not keep the program from ending, others do.

use std::{thread::sleep, time::Duration};

use proc_core::thread::{Builder, Timer, active_count};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let daemon = Builder::new().name("radio").daemon(true).spawn(|| {
        loop {
            sleep(Duration::from_secs(3600))
        }
    })?;
    println!("The {} plays for ever: daemon = {}.", daemon.name(), daemon.is_daemon());
    let worker = Builder::new().name("worker").spawn(|| {
        sleep(Duration::from_millis(50));
        println!("The worker is done, after main.");
    })?;
    println!("Is the worker done? {}.", worker.join_timeout(Duration::from_millis(1)));
    let alarm = Timer::new(Duration::from_secs(3600), || println!("Wake up!"));
    alarm.start()?;
    println!("There are {} threads.", active_count());
    println!("The alarm was called off in time: {}.", alarm.cancel());
    println!("Main is done.");
    Ok(())
}
