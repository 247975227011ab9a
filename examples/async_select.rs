//! An async program that waits for a queue, a task, a process and its own timer at a time: no thread waits for any of them.

use std::{error::Error, time::Duration};

use ipc::Queue;
use pool::ProcessPool;
use proc_core::{Process, wait_any_async};
use sync::process::Event;
use tokio::time::sleep;

fn measure(readings: Queue<u32>, stop: Event) {
    (1..=3).for_each(|n| readings.put(n * n).expect("the queue is open"));
    let _ = stop.wait();
}

fn average(readings: Vec<u32>) -> f64 {
    f64::from(readings.iter().sum::<u32>()) / readings.len() as f64
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let (readings, stop) = (Queue::new(1)?, Event::new()?);
    let pool = ProcessPool::new(1)?;
    let mut meter = Process::spawn(measure, (readings.clone(), stop.clone()))?.into_future();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        tokio::select! {
            reading = readings.get_async() => seen.push(reading?),
            ended = &mut meter => return Err(format!("the meter ended early: {ended:?}").into()),
            () = sleep(Duration::from_secs(60)) => return Err("no reading for a minute".into()),
        }
    }
    println!("readings {seen:?}");
    println!("on average {:.2}", pool.apply_async(average, (seen,)).await?);

    // Room in the queue, and the end of a process, in one call.
    stop.set();
    let handle = meter.clone();
    meter.await?;
    println!("ready: {:?}", wait_any_async(&[&readings.writable(), &readings, &handle]).await?);
    pool.close();
    Ok(pool.join_async().await?)
}

fn main() -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(serve())
}
