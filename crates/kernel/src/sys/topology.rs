//! Which CPUs the calling thread may run on, and where in the machine each of them is.

use std::{fs, io, str::FromStr};

use nix::{
    sched::{CpuSet, sched_getaffinity},
    unistd::Pid,
};

/// A CPU, which may be one of several that share a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// What the kernel calls it.
    pub number: usize,
    /// The node of memory that is near to it.
    pub node: u32,
    /// The piece of silicon that it is a part of.
    pub package: u32,
    /// The core, within its package.
    pub core: u32,
}

/// The CPUs that the calling thread may run on, by number. A CPU that `/sys` says nothing of counts as a core of its own in
/// the first package, on the first node.
///
/// # Errors
/// Those of sched_getaffinity(2).
pub fn allowed() -> io::Result<Vec<Cpu>> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    let is_allowed = |number: &usize| set.is_set(*number).unwrap_or(false);
    Ok((0..CpuSet::count()).filter(is_allowed).map(locate).collect())
}

fn locate(number: usize) -> Cpu {
    let folder = format!("/sys/devices/system/cpu/cpu{number}");
    let topology = |name: &str| read(&format!("{folder}/topology/{name}"));
    Cpu {
        number,
        node: node_in(&folder).unwrap_or_default(),
        package: topology("physical_package_id").unwrap_or_default(),
        core: topology("core_id").unwrap_or(number as u32),
    }
}

/// A CPU's folder has a link to that of its node.
fn node_in(folder: &str) -> Option<u32> {
    let names = fs::read_dir(folder).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.strip_prefix("node")?.parse().ok()).next()
}

/// The number in a file; `None` for -1, by which the kernel says that a virtual machine does not know it.
fn read<N: FromStr>(path: &str) -> Option<N> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_the_kernel_says() {
        let cpus = allowed().unwrap();
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
        let count = |range: &str| match range.split_once('-') {
            Some((first, last)) => last.parse::<usize>().unwrap() - first.parse::<usize>().unwrap() + 1,
            None => 1,
        };
        assert_eq!(cpus.len(), list.split(',').map(count).sum::<usize>());
        assert!(cpus.is_sorted_by_key(|cpu| cpu.number));
    }
}
