//! Which threads cannot go on, and because of which others.
//!
//! A thread that waits for a lock depends on the one that holds it; a thread that waits for a message depends on all
//! processes that have the queue. A wait is hopeless if all it depends on are hopeless: stopped, dead, or waiting hopelessly
//! themselves. A look reads changing things one after another, so a wait counts once it has been seen twice. What is said of
//! a deadlock then is true, provided that no process outside of the program has the queue.

use std::collections::{HashMap, HashSet};

use crate::model::{Finding, FindingKind, For, ProcessRow, Snapshot, WaitRow};

/// What the waits of a look come to.
pub(crate) fn findings(snapshot: &Snapshot) -> Vec<Finding> {
    let processes: HashMap<u32, &ProcessRow> = snapshot.processes.iter().map(|row| (row.pid, row)).collect();
    let seen_twice = snapshot.waits.iter().filter(|wait| wait.seen.ms > 0);
    let waits: HashMap<u32, &WaitRow> = seen_twice.map(|wait| (wait.tid, wait)).collect();
    let graph = Graph { hopeless: hopeless(&processes, &waits), processes, waits };
    let mut found = graph.cycles();
    let mut told: HashSet<u32> = found.iter().flat_map(|finding| &finding.pids).copied().collect();
    let mut tids: Vec<u32> = graph.hopeless.iter().copied().collect();
    tids.sort_unstable();
    // Those first that wait for something other than a child's end: that is what the child is waiting for.
    tids.sort_by_key(|tid| graph.waits[tid].r#for == For::End);
    for tid in tids {
        let wait = graph.waits[&tid];
        // A thread that waits for the end of one of those is reported with it.
        let is_told =
            told.contains(&wait.pid) || wait.r#for == For::End && wait.any.iter().any(|pid| told.contains(pid));
        if is_told {
            continue;
        }
        let finding = graph.chain(tid);
        told.extend(&finding.pids);
        found.push(finding);
    }
    found
}

struct Graph<'a> {
    processes: HashMap<u32, &'a ProcessRow>,
    /// By thread.
    waits: HashMap<u32, &'a WaitRow>,
    /// The threads whose wait no process can end.
    hopeless: HashSet<u32>,
}

fn is_idle(wait: &WaitRow) -> bool {
    // A worker without a task may wait for ever, and so may a thread that waits at an unknown word.
    matches!(wait.r#for, For::Task | For::Word)
}

/// The largest set of threads that wait for no thread outside of it that can act.
fn hopeless(processes: &HashMap<u32, &ProcessRow>, waits: &HashMap<u32, &WaitRow>) -> HashSet<u32> {
    let mut hopeless: HashSet<u32> = waits.values().filter(|wait| !is_idle(wait)).map(|wait| wait.tid).collect();
    loop {
        let can_act = |pid: &u32| {
            processes.get(pid).is_some_and(|row| {
                let is_able = !row.is_stopped() && !row.is_dead();
                is_able && row.threads.iter().any(|thread| !hopeless.contains(&thread.tid))
            })
        };
        let has_hope = |wait: &&&WaitRow| match &wait.holder {
            Some(holder) => match holder.pid {
                Some(pid) if !hopeless.contains(&holder.tid) => {
                    processes.get(&pid).is_some_and(|row| !row.is_stopped() && !row.is_dead())
                }
                Some(_) => false,
                // Out of sight is not dead.
                None => true,
            },
            // No process in sight has it: nothing is known.
            None if wait.any.is_empty() => true,
            None if wait.r#for == For::End => {
                let is_over = |pid: &u32| processes.get(pid).is_none_or(|row| row.is_dead());
                wait.any.iter().any(|pid| can_act(pid) || is_over(pid))
            }
            // Another thread of its own process may have the queue as well.
            None => can_act(&wait.pid) || wait.any.iter().any(can_act),
        };
        let saved: Vec<u32> =
            waits.values().filter(|wait| hopeless.contains(&wait.tid)).filter(has_hope).map(|wait| wait.tid).collect();
        if saved.is_empty() {
            return hopeless;
        }
        hopeless.retain(|tid| !saved.contains(tid));
    }
}

impl Graph<'_> {
    /// Locks' holders that wait for each other.
    fn cycles(&self) -> Vec<Finding> {
        let mut found: Vec<Finding> = Vec::new();
        let mut told: HashSet<u32> = HashSet::new();
        let mut tids: Vec<u32> = self.waits.keys().copied().collect();
        tids.sort_unstable();
        for first in tids {
            let mut path = Vec::new();
            let mut next = Some(first);
            while let Some(tid) = next.filter(|tid| !path.contains(tid) && !told.contains(tid)) {
                path.push(tid);
                next = self.waits.get(&tid).and_then(|wait| Some(wait.holder.as_ref()?.tid));
            }
            if let Some(at) = next.and_then(|tid| path.iter().position(|of| *of == tid)) {
                let cycle: Vec<&WaitRow> = path[at..].iter().map(|tid| self.waits[tid]).collect();
                told.extend(cycle.iter().map(|wait| wait.tid));
                let steps: Vec<String> = cycle.iter().map(|wait| self.step(wait)).collect();
                let back = self.who(cycle[0]);
                found.push(Finding {
                    kind: FindingKind::Deadlock,
                    text: format!("deadlock: {}, which is held by {back}", steps.join(", which is held by ")),
                    pids: cycle.iter().map(|wait| wait.pid).collect(),
                });
            }
        }
        found
    }

    fn who(&self, wait: &WaitRow) -> String {
        format!("{} ({})", wait.name, wait.tid)
    }

    fn step(&self, wait: &WaitRow) -> String {
        format!("{} waits {} {}", self.who(wait), wait.r#for.text(), wait.what)
    }

    /// From a hopeless wait to why it is one.
    fn chain(&self, first: u32) -> Finding {
        let (mut steps, mut pids, mut passed) = (Vec::new(), Vec::new(), HashSet::new());
        let mut tid = first;
        let kind = loop {
            let wait = self.waits[&tid];
            passed.insert(tid);
            pids.push(wait.pid);
            steps.push(self.step(wait));
            let next: Vec<u32> = match &wait.holder {
                Some(holder) => holder.pid.into_iter().collect(),
                None => wait.any.clone(),
            };
            let row = |test: fn(&ProcessRow) -> bool| {
                next.iter().filter_map(|pid| self.processes.get(pid)).find(|row| test(row)).copied()
            };
            if let Some(stopped) = row(ProcessRow::is_stopped) {
                pids.push(stopped.pid);
                steps.push(format!("which {} ({}) has, a process that is stopped", stopped.name, stopped.pid));
                break FindingKind::Stopped;
            }
            if let Some(dead) = row(ProcessRow::is_dead) {
                pids.push(dead.pid);
                steps.push(format!("which {} ({}) had, a process that has ended", dead.name, dead.pid));
                break FindingKind::Dead;
            }
            let waiting = |pid: &u32| {
                let of = self.hopeless.iter().filter(|tid| self.waits[*tid].pid == *pid && !passed.contains(*tid));
                of.copied().min()
            };
            match next.iter().find_map(waiting) {
                Some(next) => tid = next,
                None if next.iter().any(|pid| pids.contains(pid)) => break FindingKind::Deadlock,
                None => break FindingKind::Stuck,
            }
        };
        let text = match kind {
            FindingKind::Deadlock => format!("deadlock, nobody can go on: {}", steps.join("; ")),
            FindingKind::Stuck => format!("nobody in sight can end this: {}", steps.join("; ")),
            FindingKind::Stopped | FindingKind::Dead => format!("held up: {}", steps.join(", ")),
        };
        Finding { kind, text, pids }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{HolderRow, Seen},
        testing::{process, snapshot, wait},
    };

    fn holder(pid: u32) -> Option<HolderRow> {
        Some(HolderRow { tid: pid, pid: Some(pid), name: format!("p{pid}"), seen: Seen::default() })
    }

    fn program(states: &[(u32, char)], waits: Vec<WaitRow>) -> Vec<Finding> {
        let mut program = snapshot();
        program.processes = states.iter().map(|(pid, state)| process(*pid, *state)).collect();
        program.waits = waits;
        findings(&program)
    }

    #[test]
    fn two_that_hold_each_others_lock_are_a_deadlock() {
        let waits = vec![
            WaitRow { holder: holder(2), ..wait(1, For::Lock, "lock:70", &[2]) },
            WaitRow { holder: holder(1), ..wait(2, For::Lock, "lock:71", &[1]) },
            wait(3, For::End, "one of its children", &[1, 2]),
        ];
        let found = program(&[(1, 'S'), (2, 'S'), (3, 'S')], waits);
        assert_eq!(found[0].kind, FindingKind::Deadlock);
        assert_eq!(
            found[0].text,
            "deadlock: p1 (1) waits for lock:70, which is held by p2 (2) waits for lock:71, which is held by p1 (1)"
        );
        assert_eq!(found[0].pids, [1, 2]);
    }

    #[test]
    fn a_lock_whose_holder_works_is_no_finding() {
        let waits = vec![WaitRow { holder: holder(2), ..wait(1, For::Lock, "lock:70", &[2]) }];
        assert_eq!(program(&[(1, 'S'), (2, 'R')], waits.clone()), []);
        let found = program(&[(1, 'S'), (2, 'T')], waits);
        assert_eq!(found[0].kind, FindingKind::Stopped);
    }

    #[test]
    fn a_queue_whose_consumer_is_stopped_holds_its_producer_up() {
        let waits = || vec![wait(2, For::Room, "queue:9", &[1, 3]), wait(1, For::End, "one of its children", &[2, 3])];
        assert_eq!(program(&[(1, 'S'), (2, 'S'), (3, 'S')], waits()), [], "it may be about to take something");
        let found = program(&[(1, 'S'), (2, 'S'), (3, 'T')], waits());
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].kind, FindingKind::Stopped);
        assert_eq!(
            found[0].text,
            "held up: p2 (2) waits for room in queue:9, which p3 (3) has, a process that is stopped"
        );
    }

    #[test]
    fn two_that_wait_for_each_others_messages_are_a_deadlock() {
        let waits = vec![wait(1, For::Message, "queue:8", &[2]), wait(2, For::Message, "queue:9", &[1])];
        let found = program(&[(1, 'S'), (2, 'S')], waits);
        assert_eq!((found.len(), found[0].kind), (1, FindingKind::Deadlock));
    }

    #[test]
    fn what_was_seen_once_is_no_finding() {
        let waits = || vec![wait(1, For::Message, "queue:8", &[2]), wait(2, For::Message, "queue:9", &[1])];
        assert_eq!(program(&[(1, 'S'), (2, 'S')], waits()).len(), 1);
        let first: Vec<WaitRow> = waits().into_iter().map(|wait| WaitRow { seen: Seen::default(), ..wait }).collect();
        assert_eq!(program(&[(1, 'S'), (2, 'S')], first), []);
    }

    #[test]
    fn idle_workers_and_those_out_of_sight_are_no_finding() {
        let waits = vec![wait(1, For::Task, "lane:8", &[2]), wait(2, For::Message, "queue:9", &[])];
        assert_eq!(program(&[(1, 'S'), (2, 'S')], waits), []);
        let unseen = HolderRow { tid: 99, pid: None, name: "no thread in sight".into(), seen: Seen::default() };
        let waits = vec![WaitRow { holder: Some(unseen), ..wait(1, For::Lock, "lock:70", &[]) }];
        assert_eq!(program(&[(1, 'S')], waits), []);
    }
}
