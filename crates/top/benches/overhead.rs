//! What a program under load loses while `top` looks at it, once a second as it does by default.
//!
//! `cargo bench -p top --bench overhead -- [PAIRS] [SECONDS]`
//!
//! A pool of as many workers as there are CPUs grinds without a pause. There are pairs of windows of so many seconds, in one
//! of which, at random, `top` looks, and is stopped in the other. For each window: how much is ground in a second of the
//! program's own CPU time, which other load on the machine hardly changes; and in a second, which it does. The mean of the
//! pairs' differences stands with its 95 % confidence interval.
#![allow(clippy::unwrap_used)]

use std::{
    collections::HashMap,
    fs,
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use pool::ProcessPool;
use proc_core::{Process, cpu_count, shm::Shared};

/// Grinds until it is killed.
fn program(n_ground: Shared<AtomicU64>) {
    let pool = ProcessPool::builder().workers(cpu_count()).build().unwrap();
    let tasks = std::iter::repeat_n(n_ground, usize::MAX);
    pool.imap_unordered(grind, tasks).for_each(drop);
}

/// Some hundred microseconds.
fn grind(n_ground: Shared<AtomicU64>) {
    let mut sum = 1_u64;
    for n in 0..100_000 {
        sum = std::hint::black_box(sum.wrapping_mul(n | 1));
    }
    n_ground.fetch_add(1, Relaxed);
}

/// CPU time that a process and its children have used, thread by thread.
fn cpu_times(root: u32) -> HashMap<u32, u64> {
    let mut times = HashMap::new();
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let tid = task.file_name().to_str().unwrap().parse().unwrap();
            let time = read("schedstat").split_ascii_whitespace().next().and_then(|time| time.parse().ok());
            times.insert(tid, time.unwrap_or(0));
            next.extend(read("children").split_ascii_whitespace().map(|child| child.parse::<u32>().unwrap()));
        }
    }
    times
}

/// What is ground in a second of the program's CPU time, and in a second.
fn window(root: u32, n_ground: &AtomicU64, time: Duration) -> [f64; 2] {
    let (cpu, ground, begun) = (cpu_times(root), n_ground.load(Relaxed), Instant::now());
    thread::sleep(time);
    let (wall, ground, after) = (begun.elapsed(), n_ground.load(Relaxed) - ground, cpu_times(root));
    let used: u64 = after.iter().map(|(tid, time)| time - cpu.get(tid).unwrap_or(&0)).sum();
    [ground as f64 / (used as f64 / 1e9), ground as f64 / wall.as_secs_f64()]
}

/// The mean, and half of its confidence interval's width.
fn mean_of(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    (mean, 1.96 * (variance / n).sqrt())
}

fn main() {
    // Cargo adds `--bench`.
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse::<u64>().ok());
    let (n_pairs, seconds) = (numbers.next().unwrap_or(30), numbers.next().unwrap_or(2));
    let n_ground = Shared::new(AtomicU64::new(0)).unwrap();
    let watched = Process::builder().name("grinder").daemon(true).spawn(program, (n_ground.clone(),)).unwrap();
    let mut top = Command::new(env!("CARGO_BIN_EXE_top"))
        .args([&watched.pid().to_string(), "--stream"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let top_pid = Pid::from_raw(top.id().cast_signed());
    let time = Duration::from_secs(seconds);
    let mut random = u64::from(top.id()) | 1;
    let mut losses = [Vec::new(), Vec::new()];
    let (looked_for, top_before) = (time * n_pairs as u32, cpu_times(top.id()));
    for _ in 0..n_pairs {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let order = if random >> 63 == 0 { [true, false] } else { [false, true] };
        let mut ground = [[0.0; 2]; 2];
        for looks in order {
            kill(top_pid, if looks { Signal::SIGCONT } else { Signal::SIGSTOP }).unwrap();
            ground[usize::from(looks)] = window(watched.pid(), &n_ground, time);
        }
        for (kind, losses) in losses.iter_mut().enumerate() {
            losses.push((1.0 - ground[1][kind] / ground[0][kind]) * 100.0);
        }
    }
    kill(top_pid, Signal::SIGCONT).unwrap();
    let used: u64 = cpu_times(top.id()).values().sum::<u64>() - top_before.values().sum::<u64>();
    top.kill().unwrap();
    top.wait().unwrap();
    for (losses, of) in losses.iter().zip(["a second of the program's CPU time", "a second"]) {
        let (mean, half) = mean_of(losses);
        println!("ground in {of}: {mean:+.2} % ± {half:.2} % less while top looks ({n_pairs} pairs of {seconds} s)");
    }
    let share = used as f64 / looked_for.as_nanos() as f64 * 100.0;
    println!("top itself: {share:.2} % of one CPU of {}", cpu_count());
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    println!("load of the machine at the end: {}", load.trim());
}
