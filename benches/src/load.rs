//! Who else uses the processors, from `/proc`.

use std::{
    fs,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        resource::{UsageWho, getrusage},
        time::TimeValLike,
    },
    time::{ClockId, clock_gettime},
    unistd::{Pid, getpgrp, getpid},
};

/// What others may use of the processors without a sample being called disturbed: this share of one ...
const SHARE: f64 = 0.15;
/// ... or this long, which is what the kernel's clocks of idle time can tell apart.
const RESOLUTION: Duration = Duration::from_millis(30);

/// A reading of the clocks; two of them tell what went on in between.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    at: Instant,
    idle: Duration,
    own: Duration,
}

impl Load {
    /// Reads the clocks now.
    pub fn now() -> Self {
        Self { at: Instant::now(), idle: idle(), own: own() }
    }

    /// How many processors were busy since then with anything but this process group, on average; 0 if that is not
    /// worth mentioning.
    pub fn foreign_since(&self) -> f64 {
        let now = Self::now();
        let passed = now.at.duration_since(self.at);
        let available = passed.as_secs_f64() * n_cpus() as f64;
        let accounted = now.idle.saturating_sub(self.idle) + now.own.saturating_sub(self.own);
        let foreign = available - accounted.as_secs_f64();
        let share = foreign / passed.as_secs_f64();
        if share < SHARE || foreign < RESOLUTION.as_secs_f64() { 0.0 } else { share }
    }
}

/// Waits until others leave the processors alone, for at most `limit`.
pub fn wait_for_quiet(limit: Duration) {
    let begun = Instant::now();
    loop {
        let load = Load::now();
        std::thread::sleep(Duration::from_millis(300));
        if load.foreign_since() == 0.0 || begun.elapsed() >= limit {
            return;
        }
    }
}

/// The one, five and fifteen minutes' load averages, as the kernel words them.
pub fn averages() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

const TICK: Duration = Duration::from_millis(10);

fn processor_lines() -> Vec<String> {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    text.lines().take_while(|line| line.starts_with("cpu")).map(str::to_owned).collect()
}

fn n_cpus() -> usize {
    processor_lines().len().saturating_sub(1)
}

/// Of all processors together, waiting for the disk included. What a hypervisor takes away is not idle.
fn idle() -> Duration {
    let lines = processor_lines();
    // user nice system idle iowait …
    let fields = lines.first().into_iter().flat_map(|line| line.split_whitespace().skip(4).take(2));
    TICK * fields.filter_map(|field| field.parse::<u32>().ok()).sum()
}

/// Of this process group, with children that have been waited for: their time moves to their parents.
fn own() -> Duration {
    let group = getpgrp().as_raw();
    let reaped = getrusage(UsageWho::RUSAGE_CHILDREN).map_or(Duration::ZERO, |usage| {
        let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        Duration::from_micros(micros.cast_unsigned())
    });
    let members = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let reaped = reaped_in_group(&fs::read_to_string(entry.path().join("stat")).ok()?, group)?;
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).ok()?;
        let used = Duration::from(clock_gettime(clock).ok()?);
        // For this process there is something finer than ticks.
        Some(if pid == getpid().as_raw() { used } else { used + TICK * reaped })
    });
    reaped + members.sum::<Duration>()
}

/// In ticks, what the children used that a process of `group` has waited for.
fn reaped_in_group(stat: &str, group: i32) -> Option<u32> {
    // The name, in parentheses, may hold anything; `state ppid pgrp …` follow it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let is_ours = fields.get(2)?.parse() == Ok(group);
    is_ours.then(|| fields[13..15].iter().filter_map(|field| field.parse::<u32>().ok()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_work_is_not_foreign() {
        let before = own();
        let begun = Instant::now();
        while own() < before + Duration::from_millis(200) && begun.elapsed() < Duration::from_secs(600) {
            std::hint::black_box((0..100_000).sum::<u64>());
        }
        assert!(own() >= before + Duration::from_millis(200), "the time that this process uses is counted");
    }

    #[test]
    fn time_of_a_child_that_has_been_reaped_counts() {
        let before = own();
        let work = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        assert!(std::process::Command::new("sh").args(["-c", work]).status().unwrap().success());
        assert!(own() >= before + Duration::from_millis(20));
    }

    #[test]
    fn a_name_may_hold_parentheses() {
        let stat = "7 (a) b) S 1 42 42 0 -1 0 0 0 0 0 3 4 5 6 20 0";
        assert_eq!(reaped_in_group(stat, 42), Some(11));
        assert_eq!(reaped_in_group(stat, 41), None);
    }
}
