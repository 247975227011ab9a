//! What workers log and print comes out of their owner, with the name of the worker: also the last words of one that crashed.
//!
//! Nothing is set up in `parse`: its records go to the logger that `main` has set.

use std::{process::abort, sync::Mutex};

use log::{Level, LevelFilter, Log, Metadata, Record, kv::Key};
use pool::{ProcessPool, TaskError};

/// Any logger does; this one shows what a record from a worker has in it.
struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Info
    }

    fn log(&self, record: &Record<'_>) {
        let worker = record.key_values().get(Key::from_str("process.name"));
        let worker = worker.map_or("owner".into(), |name| name.to_string());
        println!("{} [{worker}] {}", record.level(), record.args());
    }

    fn flush(&self) {}
}

fn parse(input: String) -> usize {
    log::info!("parsing {} bytes", input.len());
    if input.starts_with('!') {
        log::error!("this one is broken");
        eprintln!("free(): invalid pointer");
        abort() // what C does when it finds its heap broken
    }
    println!("parsed");
    input.len()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    static PRINTED: Mutex<Vec<String>> = Mutex::new(Vec::new());
    log::set_logger(&Logger).expect("there is no other");
    log::set_max_level(LevelFilter::Info);
    let keep = |worker: &str, line: &str| PRINTED.lock().expect("nobody panics").push(format!("{worker}: {line}"));
    let pool = ProcessPool::builder().workers(1).name("parser").stdout(keep).stderr(keep).build()?;

    pool.apply(parse, ("good".into(),))?;
    match pool.apply(parse, ("!bad".into(),)) {
        Err(TaskError::WorkerDied { crash: Some(crash), .. }) => {
            // Its records have come out by now.
            println!("crashed ({}), and said: {}", crash.cause(), crash.stderr().trim_end());
        }
        other => println!("{other:?}"),
    }
    pool.apply(parse, ("next".into(),))?;
    pool.close();
    pool.join()?;
    PRINTED.lock().expect("nobody panics").iter().for_each(|line| println!("{line}"));
    Ok(())
}
