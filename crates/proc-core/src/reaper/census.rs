//! Which process descends from which, as `/proc` has it.

use std::{collections::HashSet, fs};

use kernel::{identity::ProcessId, sys::proc_fs::Stat};

/// The process that it is about: a pid alone may be another process's by now.
pub(super) fn who(stat: &Stat) -> ProcessId {
    ProcessId { pid: stat.pid, start_time: stat.start_time }
}

/// The children of a process, zombies included.
pub(super) fn children_of(parent: u32) -> Vec<Stat> {
    let mut children: Vec<_> = pids_of_children(parent).into_iter().filter_map(Stat::of).collect();
    children.retain(|child| child.parent == parent);
    children
}

/// Adds those that descend from a process, but are not its children, to `found`.
pub(super) fn add_distant_descendants(ancestor: u32, found: &mut HashSet<ProcessId>) {
    let mut parents = pids_of_children(ancestor);
    while let Some(parent) = parents.pop() {
        for child in children_of(parent) {
            parents.push(child.pid);
            found.insert(who(&child));
        }
    }
}

fn pids_of_children(parent: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let lists: Option<Vec<String>> = tasks.map(|task| fs::read_to_string(task.path().join("children")).ok()).collect();
    match lists {
        Some(lists) => {
            lists.iter().flat_map(|list| list.split_ascii_whitespace()).filter_map(|pid| pid.parse().ok()).collect()
        }
        // A thread has just ended, or the kernel has no such lists.
        None => all_pids().filter(|pid| Stat::of(*pid).is_some_and(|stat| stat.parent == parent)).collect(),
    }
}

fn all_pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The pids of those processes that the calling one holds a process descriptor of: it will wait for them.
pub(super) fn held_by_descriptor() -> HashSet<u32> {
    let infos = fs::read_dir("/proc/self/fdinfo").into_iter().flatten().flatten();
    infos
        .filter_map(|info| {
            let text = fs::read_to_string(info.path()).ok()?;
            text.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()
        })
        .collect()
}
