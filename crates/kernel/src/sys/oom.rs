//! What the kernel tells of processes that it has killed for want of memory.
//!
//! A process that is killed so gets `SIGKILL` like any other, and no process is told. But the kernel counts, for each control
//! group and for the machine.

use std::{fs, path::PathBuf};

/// How many processes it has killed: in the calling process's control group, or on the whole machine where that does not tell.
/// `None` without a `/proc`.
pub fn n_kills() -> Option<u64> {
    Group::current()
        .and_then(|group| group.n_kills())
        .or_else(|| value(&fs::read_to_string("/proc/vmstat").ok()?, "oom_kill"))
}

/// How many bytes the processes of the calling process's control group may have; `None` if it has no limit of its own.
pub fn group_limit() -> Option<u64> {
    Group::current()?.limit()
}

/// The control group that limits memory.
enum Group {
    Unified(PathBuf),
    Old(PathBuf),
}

impl Group {
    fn current() -> Option<Self> {
        Self::among(&fs::read_to_string("/proc/self/cgroup").ok()?)
    }

    fn among(groups: &str) -> Option<Self> {
        let old = groups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|controller| controller == "memory").then_some(path)
        });
        let at = |root: &str, path: &str| PathBuf::from(root).join(path.trim_start_matches('/'));
        match old {
            Some(path) => Some(Self::Old(at("/sys/fs/cgroup/memory", path))),
            None => groups
                .lines()
                .find_map(|line| line.strip_prefix("0::"))
                .map(|path| Self::Unified(at("/sys/fs/cgroup", path))),
        }
    }

    fn n_kills(&self) -> Option<u64> {
        let file = match self {
            Self::Unified(dir) => dir.join("memory.events"),
            Self::Old(dir) => dir.join("memory.oom_control"),
        };
        value(&fs::read_to_string(file).ok()?, "oom_kill")
    }

    fn limit(&self) -> Option<u64> {
        let file = match self {
            Self::Unified(dir) => dir.join("memory.max"),
            Self::Old(dir) => dir.join("memory.limit_in_bytes"),
        };
        // "max", or a number that no machine has.
        fs::read_to_string(file).ok()?.trim().parse().ok().filter(|limit| *limit < 1 << 60)
    }
}

/// The value in the line with that name.
fn value(lines: &str, name: &str) -> Option<u64> {
    let of = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    lines.lines().find_map(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_groups() {
        let unified = Group::among("0::/user.slice/a\n");
        assert!(matches!(unified, Some(Group::Unified(dir)) if dir == *"/sys/fs/cgroup/user.slice/a"));
        let old = Group::among("9:name=systemd:/\n4:cpu,memory:/b\n0::/\n");
        assert!(matches!(old, Some(Group::Old(dir)) if dir == *"/sys/fs/cgroup/memory/b"));
        assert!(Group::among("").is_none());
    }

    #[test]
    fn a_count_is_the_whole_word() {
        assert_eq!(value("oom 3\noom_kill 7\noom_group_kill 9\n", "oom_kill"), Some(7));
        assert_eq!(value("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", "oom_kill"), Some(2));
        assert_eq!(value("oom_kill_disable 0\n", "oom_kill"), None);
        assert!(n_kills().is_some());
    }
}
