//! Who else uses the processors, from `/proc`.

use std::{
    fs,
    time::{Duration, Instant},
};

/// A reading of the clocks; two of them tell what went on in between.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    at: Instant,
    busy_ticks: u64,
    own_ticks: u64,
}

impl Load {
    /// Reads the clocks now.
    pub fn now() -> Self {
        Self { at: Instant::now(), busy_ticks: busy_ticks(), own_ticks: own_ticks() }
    }

    /// How many processors were busy since then with anything but this process group, on average.
    pub fn foreign_since(&self) -> f64 {
        let now = Self::now();
        let busy = now.busy_ticks.saturating_sub(self.busy_ticks) as f64;
        let own = now.own_ticks.saturating_sub(self.own_ticks) as f64;
        let ticks = now.at.duration_since(self.at).as_secs_f64() * 100.0;
        ((busy - own) / ticks).max(0.0)
    }
}

/// Waits until others leave `below` of a processor's time to be used, for at most `limit`; returns what they used last.
pub fn wait_for_quiet(below: f64, limit: Duration) -> f64 {
    let begun = Instant::now();
    loop {
        let load = Load::now();
        std::thread::sleep(Duration::from_millis(300));
        let foreign = load.foreign_since();
        if foreign < below || begun.elapsed() >= limit {
            return foreign;
        }
    }
}

/// The one, five and fifteen minutes' load averages, as the kernel words them.
pub fn averages() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// Of all processors, in hundredths of a second: everything but idle and waiting for the disk.
fn busy_ticks() -> u64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<u64> =
        text.lines().next().unwrap_or_default().split_whitespace().filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest time is part of user's.
    [0, 1, 2, 5, 6, 7].iter().filter_map(|&idx| fields.get(idx)).sum()
}

/// Of this process group, with children that have been waited for: their time moves to their parents.
fn own_ticks() -> u64 {
    let group = nix::unistd::getpgrp().as_raw();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = processes.filter(|entry| entry.file_name().to_string_lossy().starts_with(|c: char| c.is_ascii_digit()));
    stats.filter_map(|entry| ticks_in_group(&fs::read_to_string(entry.path().join("stat")).ok()?, group)).sum()
}

fn ticks_in_group(stat: &str, group: i32) -> Option<u64> {
    // The name, in parentheses, may hold anything; `state ppid pgrp …` follow it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let is_ours = fields.get(2)?.parse() == Ok(group);
    is_ours.then(|| fields[11..15].iter().filter_map(|field| field.parse::<u64>().ok()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_work_is_not_foreign() {
        let load = Load::now();
        let own = own_ticks();
        let begun = Instant::now();
        while own_ticks() < own + 20 && begun.elapsed() < Duration::from_secs(20) {
            std::hint::black_box((0..100_000).sum::<u64>());
        }
        assert!(own_ticks() >= own + 20, "the time that this process uses is counted");
        let n_cpus = std::thread::available_parallelism().map_or(1, usize::from);
        assert!(load.foreign_since() <= n_cpus as f64);
    }

    #[test]
    fn a_name_may_hold_parentheses() {
        let stat = "7 (a) b) S 1 42 42 0 -1 0 0 0 0 0 3 4 5 6 20 0";
        assert_eq!(ticks_in_group(stat, 42), Some(18));
        assert_eq!(ticks_in_group(stat, 41), None);
    }
}
