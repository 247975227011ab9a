//! A clock that runs as a daemon: `daemon_clock start|stop|status [DIR]`.

use std::{error::Error, fs::OpenOptions, path::PathBuf, thread::sleep, time::Duration};

use proc_core::daemon::{Daemonize, pid_of, stop};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_else(|| "status".into());
    let dir = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let pid_file = dir.join("clock.pid");
    match command.as_str() {
        "start" => {
            let log = OpenOptions::new().create(true).append(true).open(dir.join("clock.log"))?;
            // Returns when the clock ticks, or says why it does not.
            let daemon = Daemonize::new().pid_file(&pid_file).stdout(log);
            match daemon.run(|ready| -> Result<(), String> {
                println!("The clock ticks.");
                ready.notify();
                for tick in 1.. {
                    sleep(Duration::from_secs(1));
                    println!("Tick {tick}.");
                }
                Ok(())
            }) {
                Ok(pid) => println!("The clock runs as process {pid}."),
                Err(e) => println!("The clock was not started: {e}."),
            }
        }
        "stop" => match stop(&pid_file) {
            Ok(()) => println!("The clock has stopped."),
            Err(e) => println!("The clock was not stopped: {e}."),
        },
        _ => match pid_of(&pid_file)? {
            Some(pid) => println!("The clock runs as process {pid}."),
            None => println!("The clock does not run."),
        },
    }
    Ok(())
}
