//! What idle things keep.

use std::{fs, io};

use ipc::Queue;
use pool::ProcessPool;
use proc_core::Process;

use crate::{
    figure::{Figure, Plan, Side},
    python,
};

/// The figures of this area.
pub fn plans() -> Vec<Plan> {
    vec![
        Plan::new("memory", "memory of an idle worker", |name| {
            let figure = Figure::cost(name, "KiB private").case(Side::Ours, "ProcessPool", |_| workers()).case(
                Side::Ours,
                "Process",
                |_| child(),
            );
            Ok(python::add(figure, &[("worker_memory", "Python Pool")]).target_value("ProcessPool", 48.0))
        }),
        Plan::new("memory", "memory of an idle queue", |name| {
            Ok(Figure::cost(name, "KiB resident").case(Side::Ours, "Queue", |_| queues()).target_value("Queue", 128.0))
        }),
        Plan::new("memory", "descriptors of a queue", |name| {
            Ok(Figure::cost(name, "fds").case(Side::Ours, "Queue", |_| descriptors()).target_value("Queue", 1.0))
        }),
    ]
}

fn kib(pid: &str, what: &[&str]) -> io::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let of = |line: &str| line.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok());
    Ok(text.lines().filter(|line| what.iter().any(|what| line.starts_with(what))).filter_map(of).sum())
}

fn workers() -> io::Result<f64> {
    let pool = ProcessPool::new(4).map_err(io::Error::other)?;
    (0..100).try_for_each(|n| pool.apply(|n: u64| n, (n,)).map(drop)).map_err(io::Error::other)?;
    let pids: Vec<u32> = pool.stats().workers.iter().filter_map(|worker| worker.pid).collect();
    let all: io::Result<Vec<f64>> = pids.iter().map(|pid| kib(&pid.to_string(), &["Private_"])).collect();
    Ok(all?.iter().sum::<f64>() / pids.len().max(1) as f64)
}

fn child() -> io::Result<f64> {
    let (sleeper, ready) = (Queue::<()>::new(1)?, Queue::<()>::new(1)?);
    let wait = |sleeper: Queue<()>, ready: Queue<()>| {
        ready.put(()).expect("the queue is open");
        sleeper.get().expect("the queue is open");
    };
    let process = Process::spawn(wait, (sleeper.clone(), ready.clone())).map_err(io::Error::other)?;
    ready.get().map_err(io::Error::other)?;
    let found = kib(&process.pid().to_string(), &["Private_"]);
    sleeper.put(()).map_err(io::Error::other)?;
    process.join().map_err(io::Error::other)?;
    found
}

const N_QUEUES: usize = 64;

fn make_queues() -> io::Result<Vec<Queue<u64>>> {
    let queues: Vec<Queue<u64>> = (0..N_QUEUES).map(|_| Queue::new(1024)).collect::<io::Result<_>>()?;
    for queue in &queues {
        queue.put(1).map_err(io::Error::other)?;
        queue.get().map_err(io::Error::other)?;
    }
    Ok(queues)
}

fn queues() -> io::Result<f64> {
    let before = kib("self", &["Rss"])?;
    let queues = make_queues()?;
    let after = kib("self", &["Rss"])?;
    drop(queues);
    Ok((after - before).max(0.0) / N_QUEUES as f64)
}

fn descriptors() -> io::Result<f64> {
    let count = || Ok::<_, io::Error>(fs::read_dir("/proc/self/fd")?.count());
    let before = count()?;
    let queues = make_queues()?;
    let after = count()?;
    drop(queues);
    Ok(after.saturating_sub(before) as f64 / N_QUEUES as f64)
}
