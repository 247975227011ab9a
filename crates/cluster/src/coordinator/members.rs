//! Which agents there are, by what they tell every second.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::message::Beat;

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

/// Whoever has said nothing for so long is not counted any more. Its tasks are given to others by the server.
const HEARD_WITHIN: Duration = Duration::from_millis(3500);

#[derive(Default)]
pub(crate) struct Members(HashMap<String, (Instant, Host)>);

impl Members {
    pub(crate) fn heard(&mut self, beat: Beat, now: Instant) {
        if beat.leaves {
            self.0.remove(&beat.agent);
            return;
        }
        let host = Host { name: beat.host, pid: beat.pid, n_slots: beat.slots, n_held: beat.n_held };
        self.0.insert(beat.agent, (now, host));
    }

    /// Forgets who was not heard of lately.
    pub(crate) fn forget(&mut self, now: Instant) {
        self.0.retain(|_, (heard, _)| now.duration_since(*heard) < HEARD_WITHIN);
    }

    pub(crate) fn hosts(&self) -> Vec<Host> {
        let mut hosts: Vec<_> = self.0.values().map(|(_, host)| host.clone()).collect();
        hosts.sort_by(|a, b| (&a.name, a.pid).cmp(&(&b.name, b.pid)));
        hosts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_and_leaving_agents_are_forgotten() {
        let beat =
            |agent: &str, leaves| Beat { agent: agent.into(), host: agent.into(), pid: 1, slots: 2, n_held: 0, leaves };
        let (mut members, begun) = (Members::default(), Instant::now());
        members.heard(beat("a", false), begun);
        members.heard(beat("b", false), begun + HEARD_WITHIN / 2);
        members.heard(beat("c", false), begun);
        members.heard(beat("c", true), begun);
        assert_eq!(members.hosts().iter().map(|host| &host.name[..]).collect::<Vec<_>>(), ["a", "b"]);
        members.forget(begun + HEARD_WITHIN);
        assert_eq!(members.hosts().iter().map(|host| &host.name[..]).collect::<Vec<_>>(), ["b"]);
    }
}
