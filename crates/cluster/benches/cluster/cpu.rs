//! CPU time of processes and of all that they have started.

use std::{collections::HashMap, fs};

/// Of each process its parent, and hundredths of a second.
pub(crate) struct Cpu(HashMap<u32, (u32, u64)>);

impl Cpu {
    pub(crate) fn now() -> Self {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        Self(pids.filter_map(|pid| Some((pid, of_process(pid)?))).collect())
    }

    /// Microseconds of these processes.
    pub(crate) fn alone(&self, pids: &[u32]) -> f64 {
        pids.iter().filter_map(|pid| self.0.get(pid)).map(|(_, ticks)| *ticks as f64 * 1e4).sum()
    }

    /// The same, with all their descendants.
    pub(crate) fn whole(&self, pids: &[u32]) -> f64 {
        let is_meant = |mut pid: u32| loop {
            match self.0.get(&pid) {
                _ if pids.contains(&pid) => return true,
                Some((parent, _)) => pid = *parent,
                None => return false,
            }
        };
        self.alone(&self.0.keys().copied().filter(|pid| is_meant(*pid)).collect::<Vec<_>>())
    }
}

fn of_process(pid: u32) -> Option<(u32, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some((fields.get(1)?.parse().ok()?, ticks(11)? + ticks(12)?))
}
