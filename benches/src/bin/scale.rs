//! What many workers, producers and consumers cost: time to start and to stop, CPU, memory, descriptors.
//!
//! `cargo run --release -p benches --bin scale -- [N ...]`; for system calls, under
//! `perf stat -e raw_syscalls:sys_enter`.

use std::{
    error::Error,
    fs,
    time::{Duration, Instant},
};

use ipc::Queue;
use nix::sys::{
    resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit},
    time::TimeValLike,
};
use pool::ProcessPool;
use proc_core::Process;

const N_TASKS: u64 = 20_000;
const N_TRIPS: u64 = 200;
const N_MESSAGES: u64 = 200_000;
/// A queue has places for about a thousand processes.
const MAX_EACH_SIDE: usize = 500;
/// Of so many workers the memory is looked at.
const N_LOOKS: usize = 32;

fn main() -> Result<(), Box<dyn Error>> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let asked = std::env::args().skip(1).map(|arg| arg.parse()).collect::<Result<Vec<usize>, _>>()?;
    let counts = if asked.is_empty() { vec![2, 64, 256, 1024] } else { asked };
    println!("  workers  start, ms  stop, ms  task, owner's CPU, ns  round trip, µs  worker, KiB  owner, KiB  fds");
    counts.iter().try_for_each(|n| workers(*n))?;
    println!("\n  each side  start of one, µs  message, ns  message, CPU of all, ns");
    counts.iter().filter(|n| **n <= MAX_EACH_SIDE).try_for_each(|n| messages(*n))
}

fn same(n: u64) -> u64 {
    n
}

fn workers(n_workers: usize) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let pool = ProcessPool::new(n_workers)?;
    let start = begun.elapsed();
    let n_fds = fs::read_dir("/proc/self/fd")?.count();
    let before = cpu(UsageWho::RUSAGE_SELF)?;
    let tasks: Vec<_> = (0..N_TASKS).map(|n| pool.apply_async(same, (n,))).collect();
    for (n, task) in tasks.iter().enumerate() {
        assert_eq!(task.get()?, n as u64);
    }
    let owner = cpu(UsageWho::RUSAGE_SELF)? - before;
    drop(tasks);
    let begun = Instant::now();
    (0..N_TRIPS).try_for_each(|n| pool.apply(same, (n,)).map(drop))?;
    let trips = begun.elapsed();
    let stats = pool.stats();
    let looked_at: Vec<u32> = stats.workers.iter().filter_map(|worker| worker.pid).take(N_LOOKS).collect();
    let of_workers = looked_at.iter().map(|pid| private_kib(*pid)).sum::<Result<u64, _>>()?;
    let of_owner = private_kib(std::process::id())?;
    let begun = Instant::now();
    pool.close();
    pool.join()?;
    println!(
        "{n_workers:9}{:11.1}{:10.1}{:23.0}{:16.1}{:13}{of_owner:12}{n_fds:5}",
        start.as_secs_f64() * 1e3,
        begun.elapsed().as_secs_f64() * 1e3,
        owner.as_nanos() as f64 / N_TASKS as f64,
        trips.as_secs_f64() * 1e6 / N_TRIPS as f64,
        of_workers / looked_at.len().max(1) as u64,
    );
    Ok(())
}

/// Returns what it has used of the processors.
fn put_all(queue: Queue<u64>, begin: Queue<()>, n: u64) -> Duration {
    begin.get().expect("the queue is open");
    let before = cpu(UsageWho::RUSAGE_SELF).expect("it is always known");
    (0..n).for_each(|n| queue.put(n).expect("the queue is open"));
    cpu(UsageWho::RUSAGE_SELF).expect("it is always known") - before
}

fn get_all(queue: Queue<u64>, begin: Queue<()>, n: u64) -> Duration {
    begin.get().expect("the queue is open");
    let before = cpu(UsageWho::RUSAGE_SELF).expect("it is always known");
    (0..n).for_each(|_| {
        std::hint::black_box(queue.get().expect("the queue is open"));
    });
    cpu(UsageWho::RUSAGE_SELF).expect("it is always known") - before
}

fn messages(n_each_side: usize) -> Result<(), Box<dyn Error>> {
    let each = N_MESSAGES / n_each_side as u64;
    let (queue, begin) = (Queue::new(1024)?, Queue::new(2 * n_each_side)?);
    let begun = Instant::now();
    let args = || (queue.clone(), begin.clone(), each);
    let mut crew = Vec::new();
    for _ in 0..n_each_side {
        crew.push(Process::spawn(put_all, args())?);
        crew.push(Process::spawn(get_all, args())?);
    }
    let start = begun.elapsed();
    // Until they wait, so that their starts do not count.
    std::thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    begin.put_many((0..2 * n_each_side).map(|_| ()))?;
    let used = crew.into_iter().map(Process::join).sum::<Result<Duration, _>>()?;
    let (took, n) = (begun.elapsed(), each * n_each_side as u64);
    println!(
        "{n_each_side:11}{:18.0}{:13.0}{:26.0}",
        start.as_secs_f64() * 1e6 / (2 * n_each_side) as f64,
        took.as_nanos() as f64 / n as f64,
        used.as_nanos() as f64 / n as f64,
    );
    Ok(())
}

fn cpu(who: UsageWho) -> nix::Result<Duration> {
    let usage = getrusage(who)?;
    let time = usage.user_time() + usage.system_time();
    Ok(Duration::from_micros(time.num_microseconds().cast_unsigned()))
}

fn private_kib(pid: u32) -> std::io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let of = |line: &str| line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok());
    Ok(text.lines().filter(|line| line.starts_with("Private_")).filter_map(of).sum())
}
