//! Which agents there are, by what they tell every second.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::{message::Beat, names::QueueName};

/// A machine, or part of one, that runs a pool's tasks: an agent of the same build that was heard of lately.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Host {
    /// The machine's name.
    pub name: String,
    /// The pid of the agent there.
    pub pid: u32,
    /// How many tasks it runs at a time.
    pub n_slots: usize,
    /// How many tasks it has in hand.
    pub n_held: usize,
}

/// An agent that has said nothing for so long is not counted any more. The server gives its tasks to others.
const HEARD_WITHIN: Duration = Duration::from_millis(3500);

/// An agent that claims to run more tasks at a time is not believed.
const MAX_SLOTS: usize = 1 << 16;

/// Agents of this build, and of others.
#[derive(Default)]
pub(crate) struct Members(HashMap<String, (Instant, Beat)>);

impl Members {
    pub(crate) fn heard(&mut self, mut beat: Beat, now: Instant) {
        if beat.leaves {
            self.0.remove(&beat.agent);
            return;
        }
        // A client that may publish here may say any number; sums of these do not overflow.
        beat.slots = beat.slots.min(MAX_SLOTS);
        beat.n_held = beat.n_held.min(MAX_SLOTS);
        self.0.insert(beat.agent.clone(), (now, beat));
    }

    /// Forgets agents that were not heard of lately.
    pub(crate) fn forget(&mut self, now: Instant) {
        self.0.retain(|_, (heard, _)| now.duration_since(*heard) < HEARD_WITHIN);
    }

    /// Those that take a queue's tasks.
    pub(crate) fn hosts(&self, queue: &QueueName) -> Vec<Host> {
        self.sorted(|beat| takes(beat, queue))
    }

    /// How many tasks of a queue can run at a time.
    pub(crate) fn n_slots(&self, queue: &QueueName) -> usize {
        self.0.values().filter(|(_, beat)| takes(beat, queue)).map(|(_, beat)| beat.slots).sum()
    }

    /// All others.
    pub(crate) fn strangers(&self, queue: &QueueName) -> Vec<Host> {
        self.sorted(|beat| !takes(beat, queue))
    }

    fn sorted(&self, wanted: impl Fn(&Beat) -> bool) -> Vec<Host> {
        let beats = self.0.values().map(|(_, beat)| beat).filter(|beat| wanted(beat));
        let mut hosts: Vec<_> = beats
            .map(|beat| Host { name: beat.host.clone(), pid: beat.pid, n_slots: beat.slots, n_held: beat.n_held })
            .collect();
        hosts.sort_by(|a, b| (&a.name, a.pid).cmp(&(&b.name, b.pid)));
        hosts
    }
}

fn takes(beat: &Beat, queue: &QueueName) -> bool {
    match queue.function() {
        Some(name) => beat.functions.iter().any(|function| function == name),
        None => beat.build == queue.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_of_a_stranger_overflows_a_sum() {
        let beat = |agent: &str| Beat {
            agent: agent.into(),
            build: "x".into(),
            host: agent.into(),
            pid: 1,
            slots: usize::MAX,
            functions: Vec::new(),
            n_held: usize::MAX,
            leaves: false,
        };
        let mut members = Members::default();
        members.heard(beat("a"), Instant::now());
        members.heard(beat("b"), Instant::now());
        assert_eq!(members.n_slots(&QueueName::of_build("x")), 2 * MAX_SLOTS);
    }

    #[test]
    fn silent_and_leaving_agents_are_forgotten() {
        let beat = |agent: &str, build: &str, leaves| Beat {
            agent: agent.into(),
            build: build.into(),
            host: agent.into(),
            pid: 1,
            slots: 2,
            functions: vec![format!("of-{build}")],
            n_held: 0,
            leaves,
        };
        let (x, y) = (QueueName::of_build("x"), QueueName::of_function("of-y").unwrap());
        let names = |hosts: Vec<Host>| hosts.into_iter().map(|host| host.name).collect::<Vec<_>>();
        let (mut members, begun) = (Members::default(), Instant::now());
        members.heard(beat("a", "x", false), begun);
        members.heard(beat("b", "x", false), begun + HEARD_WITHIN / 2);
        members.heard(beat("c", "x", false), begun);
        members.heard(beat("c", "x", true), begun);
        members.heard(beat("d", "y", false), begun);
        assert_eq!(
            (names(members.hosts(&x)), names(members.strangers(&x))),
            (vec!["a".into(), "b".into()], vec!["d".into()])
        );
        assert_eq!(names(members.hosts(&y)), ["d"]);
        members.forget(begun + HEARD_WITHIN);
        assert_eq!((names(members.hosts(&x)), names(members.strangers(&x))), (vec!["b".to_owned()], Vec::new()));
    }
}
