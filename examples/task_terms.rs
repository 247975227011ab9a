//! Terms of one task beside its pool's, workers with an environment of their own, and a pool that changes its size.

use std::{thread, time::Duration};

use pool::{ProcessPool, TaskError};
use proc_core::{Process, Resource};

/// Stands for a call into a library that takes its time, its memory, or its worker.
fn parse(input: String) -> String {
    match input.as_str() {
        "endless" => thread::sleep(Duration::from_secs(1000)),
        "deadly" => std::process::abort(),
        "large" => drop(std::hint::black_box(vec![1_u8; 256 << 20])),
        "leaky" => std::mem::forget(std::hint::black_box(vec![1_u8; 100 << 20])),
        _ => {}
    }
    format!("{input} is parsed with {} threads", std::env::var("THREADS").unwrap_or_default())
}

fn told(result: Result<String, TaskError>) -> String {
    result.unwrap_or_else(|e| e.to_string())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Every worker, also one that replaces another: what any process can be given.
    let worker = Process::builder().env("THREADS", "1").nice(5).limit(Resource::CoreDump, 0);
    let pool = ProcessPool::builder()
        .workers(1)
        .worker(worker)
        .task_timeout(Duration::from_secs(60)) // of tasks that say nothing else
        .recycle_above(80 << 20) // a worker with more private memory than that is replaced between two tasks
        .build()?;

    let endless = pool.task(parse, ("endless".into(),)).timeout(Duration::from_millis(100)).name("first").submit();
    let large = pool.task(parse, ("large".into(),)).memory_limit(64 << 20).submit();
    let deadly = pool.task(parse, ("deadly".into(),)).retries(1).name("third").submit();
    let good = pool.task(parse, ("good".into(),)).timeout(Duration::MAX).submit(); // as long as it takes
    println!("{}: {}", endless.name().unwrap_or("?"), told(endless.get()));
    println!("large: {}", told(large.get()));
    println!("third: {}", told(deadly.get()));
    println!("{}", told(good.get()));
    let died: Vec<_> = pool.stats().deaths.into_iter().filter_map(|death| death.name).collect();
    println!("workers died of: {}", died.join(", "));

    let inputs = ["a", "endless", "b"].map(String::from);
    for result in pool.tasks(parse, inputs).timeout(Duration::from_millis(100)).imap() {
        println!("{}", told(result));
    }

    pool.resize(3)?;
    println!("{} workers are wanted", pool.n_workers());
    let before = pool.stats().restarts;
    pool.apply(parse, ("leaky".into(),))?;
    while pool.stats().restarts == before {
        thread::yield_now();
    }
    println!("the one that leaked is replaced");
    pool.close();
    Ok(pool.join()?)
}
