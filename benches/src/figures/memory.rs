//! What idle things keep.

use std::{fs, io, time::Duration};

use ipc::Queue;
use nix::unistd::gettid;
use pool::ProcessPool;
use proc_core::{Process, StartMethod};

use crate::{
    crew::Lane,
    figure::{Figure, Plan, Side},
    limits::{Order, Ring, Sleeper},
    python,
};

const BY_WORKERS: &str = "memory of an idle worker, by workers";
const BY_MAXSIZE: &str = "memory of an idle queue, by maxsize";

/// The figures of this area.
pub fn plans() -> Vec<Plan> {
    let mut plans = vec![
        Plan::new("memory", "memory of an idle worker", |name| {
            let figure = Figure::count(name, "KiB private")
                .case(Side::Ours, "ProcessPool", |_| workers(4))
                .case(Side::Ours, "Process", |_| child(StartMethod::ForkServer))
                .case(Side::Ours, "Process, Fork", |_| child(StartMethod::Fork))
                .case(Side::Ours, "Process, Spawn", |_| child(StartMethod::Spawn))
                .case(Side::Limit, "bare fork", |_| kib(&Sleeper::new()?.pid().to_string(), &["Private_"]))
                .case(Side::Rust, "procspawn", |_| {
                    procspawn::spawn((), |()| kib("self", &["Private_"]).unwrap_or(f64::NAN))
                        .join()
                        .map_err(io::Error::other)
                });
            let peers = [
                ("worker_memory fork", "Python Pool, fork"),
                ("worker_memory forkserver", "Python Pool, forkserver"),
                ("worker_memory spawn", "Python Pool, spawn"),
                ("loky_memory", "loky"),
            ];
            Ok(python::add(figure, &peers))
        }),
        Plan::new("memory", "memory of an idle queue", |name| {
            let figure = Figure::count(name, "KiB resident").case(Side::Ours, "Queue", |_| queues(1024));
            Ok(figure.case(Side::Limit, "bare MPMC ring", |_| resident(make_rings)))
        }),
        Plan::new("memory", "descriptors of a queue", |name| {
            let figure = Figure::count(name, "fds").case(Side::Ours, "Queue", |_| descriptors(|| make_queues(1024)));
            Ok(figure.case(Side::Limit, "bare MPMC ring", |_| descriptors(make_rings)))
        }),
        Plan::new("pool", "wake-ups of 64 idle workers", |name| {
            Ok(Figure::count(name, "a second").case(Side::Ours, "ProcessPool", |_| wake_ups(64)))
        }),
    ];
    for n in [1, 4, 16, 64] {
        let plan = Plan::new("memory", format!("memory of each of {n} idle workers"), move |name| {
            Ok(Figure::count(name, "KiB private").case(Side::Ours, "ProcessPool", move |_| workers(n)))
        });
        plans.push(plan.on(BY_WORKERS, n as f64).thorough_only(n > 16));
    }
    for maxsize in [16, 1024, 65536] {
        let plan = Plan::new("memory", format!("memory of an idle Queue({maxsize})"), move |name| {
            Ok(Figure::count(name, "KiB resident").case(Side::Ours, "Queue", move |_| queues(maxsize)))
        });
        plans.push(plan.on(BY_MAXSIZE, maxsize as f64));
    }
    plans
}

fn kib(pid: &str, what: &[&str]) -> io::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let of = |line: &str| line.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok());
    Ok(text.lines().filter(|line| what.iter().any(|what| line.starts_with(what))).filter_map(of).sum())
}

fn workers(n: usize) -> io::Result<f64> {
    let pool = ProcessPool::new(n).map_err(io::Error::other)?;
    (0..100 * n as u64).try_for_each(|n| pool.apply(|n: u64| n, (n,)).map(drop)).map_err(io::Error::other)?;
    let pids: Vec<u32> = pool.stats().workers.iter().filter_map(|worker| worker.pid).collect();
    let all: io::Result<Vec<f64>> = pids.iter().map(|pid| kib(&pid.to_string(), &["Private_"])).collect();
    Ok(all?.iter().sum::<f64>() / pids.len().max(1) as f64)
}

/// How often, in a second, somebody of an idle pool runs: its workers, or a thread of this process but the calling one.
fn wake_ups(n_workers: usize) -> io::Result<f64> {
    const LENGTH: Duration = Duration::from_secs(2);
    let pool = ProcessPool::new(n_workers).map_err(io::Error::other)?;
    pool.map(|n: u64| n, 0..100 * n_workers as u64).map_err(io::Error::other)?;
    let workers: Vec<u32> = pool.stats().workers.iter().filter_map(|worker| worker.pid).collect();
    let own = gettid();
    let count = || {
        let mut n_switches = 0;
        for pid in workers.iter().copied().chain([std::process::id()]) {
            for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
                let thread = thread?;
                if thread.file_name().to_str() != Some(&own.to_string()) {
                    let status = fs::read_to_string(thread.path().join("status"))?;
                    let switches = status.lines().filter(|line| line.contains("_ctxt_switches:"));
                    let of = |line: &str| line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok());
                    n_switches += switches.filter_map(of).sum::<u64>();
                }
            }
        }
        Ok::<_, io::Error>(n_switches)
    };
    // What they do after their last task is not what is asked for.
    std::thread::sleep(LENGTH);
    let before = count()?;
    std::thread::sleep(LENGTH);
    Ok((count()? - before) as f64 / LENGTH.as_secs_f64())
}

fn child(start: StartMethod) -> io::Result<f64> {
    let (sleeper, ready) = (Queue::<()>::new(1)?, Queue::<()>::new(1)?);
    let wait = |sleeper: Queue<()>, ready: Queue<()>| {
        ready.put(()).expect("the queue is open");
        sleeper.get().expect("the queue is open");
    };
    let process = Process::builder()
        .start_method(start)
        .spawn(wait, (sleeper.clone(), ready.clone()))
        .map_err(io::Error::other)?;
    ready.get().map_err(io::Error::other)?;
    let found = kib(&process.pid().to_string(), &["Private_"]);
    sleeper.put(()).map_err(io::Error::other)?;
    process.join().map_err(io::Error::other)?;
    found
}

const N_QUEUES: usize = 64;

fn make_queues(maxsize: usize) -> io::Result<Vec<Queue<u64>>> {
    let queues: Vec<Queue<u64>> = (0..N_QUEUES).map(|_| Queue::new(maxsize)).collect::<io::Result<_>>()?;
    for queue in &queues {
        queue.put(1).map_err(io::Error::other)?;
        queue.get().map_err(io::Error::other)?;
    }
    Ok(queues)
}

/// They have 1024 slots.
fn make_rings() -> io::Result<Vec<Ring>> {
    let rings: Vec<Ring> = (0..N_QUEUES).map(|_| Ring::new(8, Order::Many)).collect::<io::Result<_>>()?;
    for ring in &rings {
        ring.put(1);
        assert_eq!(ring.get(), 1);
    }
    Ok(rings)
}

fn queues(maxsize: usize) -> io::Result<f64> {
    resident(|| make_queues(maxsize))
}

fn resident<T>(make: impl FnOnce() -> io::Result<Vec<T>>) -> io::Result<f64> {
    let before = kib("self", &["Rss"])?;
    let made = make()?;
    let after = kib("self", &["Rss"])?;
    Ok((after - before).max(0.0) / made.len() as f64)
}

fn descriptors<T>(make: impl FnOnce() -> io::Result<Vec<T>>) -> io::Result<f64> {
    let count = || Ok::<_, io::Error>(fs::read_dir("/proc/self/fd")?.count());
    let before = count()?;
    let made = make()?;
    let after = count()?;
    Ok(after.saturating_sub(before) as f64 / made.len() as f64)
}
