//! The tasks that an agent has in hand.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::Subject;
use bytes::Bytes;
use pool::{Task, engine::Chunk};
use proc_core::function::CallError;

/// Which task: its coordinator, and that one's number of it.
pub(super) type Key = (Arc<str>, u64);

/// What each call of a task gives: its packed value.
pub(super) type Packed = Result<Vec<u8>, CallError>;

/// A task in hand, from its delivery until the server has been told that it is over.
pub(super) struct Held {
    /// Where the server is told: of the latest delivery, if there was another one meanwhile.
    pub(super) ack: Subject,
    /// When the server gave it, or was told last that it is worked on.
    pub(super) told: Instant,
    /// Of a job's task.
    pub(super) fingerprint: Option<u64>,
    pub(super) work: Option<Arc<Task<Chunk<Packed>>>>,
    pub(super) verdict: Option<UnconfirmedVerdict>,
}

/// A verdict that the coordinator has not confirmed.
pub(super) struct UnconfirmedVerdict {
    pub(super) number: u64,
    pub(super) message: Bytes,
    pub(super) sent: Instant,
    /// Since when no coordinator has been there to take it.
    pub(super) alone_since: Option<Instant>,
}

/// How long an agent waits for a coordinator that is not there. One whose server is restarted comes back in a moment.
pub(super) const LEASE: Duration = Duration::from_secs(30);
/// After how long a verdict without an answer is sent again.
const RESENT_AFTER: Duration = Duration::from_secs(1);
/// Tasks that are remembered as done, since the server may not have heard of that; and as taken back.
const N_REMEMBERED: usize = 4096;

/// The latest of some tasks.
#[derive(Default)]
struct Latest {
    all: HashSet<Key>,
    oldest: VecDeque<Key>,
}

impl Latest {
    fn contains(&self, key: &Key) -> bool {
        self.all.contains(key)
    }

    fn insert(&mut self, key: Key) {
        if !self.all.insert(key.clone()) {
            return;
        }
        if self.oldest.len() == N_REMEMBERED
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.all.remove(&oldest);
        }
        self.oldest.push_back(key);
    }
}

#[derive(Default)]
pub(super) struct Hand {
    pub(super) held: HashMap<Key, Held>,
    /// Of verdicts, by their numbers.
    numbers: HashMap<u64, Key>,
    next_number: u64,
    done: Latest,
    /// Taken back before they came.
    recalled: Latest,
    /// Coordinators that were not there for a whole lease.
    dead: HashSet<Arc<str>>,
    /// Names of coordinators, each once.
    coordinators: HashSet<Arc<str>>,
}

/// Names of coordinators that are known at a time.
const N_COORDINATORS: usize = 1024;

impl Hand {
    /// The key of a coordinator's task.
    pub(super) fn key(&mut self, coordinator: &str, task: u64) -> Key {
        if let Some(known) = self.coordinators.get(coordinator) {
            return (known.clone(), task);
        }
        if self.coordinators.len() >= N_COORDINATORS {
            // It saves copies, and nothing else.
            self.coordinators.clear();
        }
        let name: Arc<str> = coordinator.into();
        self.coordinators.insert(name.clone());
        (name, task)
    }

    pub(super) fn is_done(&self, key: &Key) -> bool {
        self.done.contains(key)
    }

    /// Whether a task was taken back before it came.
    pub(super) fn is_recalled(&self, key: &Key) -> bool {
        self.recalled.contains(key)
    }

    /// A coordinator takes back one task, or all: whatever of them is still to come is wanted no more.
    pub(super) fn recall(&mut self, coordinator: &str, task: Option<u64>) {
        match task {
            Some(task) => {
                let key = self.key(coordinator, task);
                self.recalled.insert(key);
            }
            None => {
                if self.dead.len() >= N_COORDINATORS {
                    // Each is found out anew.
                    self.dead.clear();
                }
                let (name, _) = self.key(coordinator, 0);
                self.dead.insert(name);
            }
        }
    }

    pub(super) fn is_dead(&self, coordinator: &str) -> bool {
        self.dead.contains(coordinator)
    }

    /// Notes the verdict on a task, and says under which number it is to be sent.
    pub(super) fn decide(&mut self, key: &Key, message: Bytes, now: Instant) -> Option<u64> {
        let held = self.held.get_mut(key)?;
        let number = self.next_number;
        self.next_number += 1;
        held.work = None;
        held.verdict = Some(UnconfirmedVerdict { number, message, sent: now, alone_since: None });
        self.numbers.insert(number, key.clone());
        Some(number)
    }

    /// The coordinator has confirmed this verdict: the task is over.
    pub(super) fn confirmed(&mut self, number: u64) -> Option<Held> {
        let key = self.numbers.remove(&number)?;
        self.dead.remove(&key.0);
        let held = self.held.remove(&key);
        if held.as_ref().is_some_and(|held| held.fingerprint.is_some()) {
            // A job may have the same task done again.
            return held;
        }
        self.done.insert(key);
        held
    }

    /// No coordinator was there to take this verdict. After a lease, the task is dropped.
    pub(super) fn unheard(&mut self, number: u64, now: Instant) -> Option<Held> {
        let key = self.numbers.get(&number)?;
        let verdict = self.held.get_mut(key)?.verdict.as_mut()?;
        let since = *verdict.alone_since.get_or_insert(now);
        if now.duration_since(since) < LEASE {
            return None;
        }
        let key = self.numbers.remove(&number)?;
        let held = self.held.remove(&key);
        // A job has no coordinator that could be dead.
        if held.as_ref().is_some_and(|held| held.fingerprint.is_none()) {
            self.dead.insert(key.0);
        }
        held
    }

    /// The whole of a verdict that is not confirmed.
    pub(super) fn verdict(&self, number: u64) -> Option<&Bytes> {
        let held = self.held.get(self.numbers.get(&number)?)?;
        Some(&held.verdict.as_ref()?.message)
    }

    /// Lets go of a task without a verdict.
    pub(super) fn let_go(&mut self, key: &Key) -> Option<Held> {
        let held = self.held.remove(key)?;
        if let Some(verdict) = &held.verdict {
            self.numbers.remove(&verdict.number);
        }
        Some(held)
    }

    /// The tasks for which `wanted` says so.
    pub(super) fn keys(&self, wanted: impl Fn(&Key, &Held) -> bool) -> Vec<Key> {
        self.held.iter().filter(|(key, held)| wanted(key, held)).map(|(key, _)| key.clone()).collect()
    }

    /// Where the server is to be told that tasks are worked on: those that it has heard nothing of for `patience`. In a
    /// replicated stream, each word costs as much as an acknowledgement, and most tasks end before it is due.
    pub(super) fn untold(&mut self, patience: Duration, now: Instant) -> Vec<Subject> {
        let untold = self.held.values_mut().filter(|held| now.duration_since(held.told) >= patience);
        let told = untold.map(|held| {
            held.told = now;
            held.ack.clone()
        });
        told.collect()
    }

    /// The verdicts that have waited for an answer for too long: their tasks, numbers and messages.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<(Key, u64, Bytes)> {
        let verdicts = self.held.iter_mut().filter_map(|(key, held)| Some((key, held.verdict.as_mut()?)));
        let overdue = verdicts.filter(|(_, verdict)| now.duration_since(verdict.sent) >= RESENT_AFTER);
        let again = overdue.map(|(key, verdict)| {
            verdict.sent = now;
            (key.clone(), verdict.number, verdict.message.clone())
        });
        again.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hand() -> (Hand, Key) {
        let (mut hand, key, now) = (Hand::default(), ("c".into(), 7), Instant::now());
        hand.held
            .insert(key.clone(), Held { ack: "ack".into(), told: now, fingerprint: None, work: None, verdict: None });
        (hand, key)
    }

    #[test]
    fn verdict_is_sent_until_it_is_confirmed() {
        let ((mut hand, key), now) = (hand(), Instant::now());
        assert!(hand.overdue(now + RESENT_AFTER).is_empty());
        let number = hand.decide(&key, Bytes::new(), now).unwrap();
        assert!(hand.overdue(now).is_empty());
        assert_eq!(hand.overdue(now + RESENT_AFTER).len(), 1);
        assert!(hand.overdue(now + RESENT_AFTER).is_empty());
        assert_eq!(hand.overdue(now + RESENT_AFTER * 2)[0].1, number);
        assert!(hand.confirmed(number).is_some() && hand.confirmed(number).is_none());
        assert!(hand.is_done(&key) && hand.held.is_empty());
    }

    #[test]
    fn coordinator_that_is_away_for_a_lease_is_dead_and_can_come_back() {
        let ((mut hand, key), now) = (hand(), Instant::now());
        let number = hand.decide(&key, Bytes::new(), now).unwrap();
        assert!(hand.unheard(number, now).is_none());
        assert!(hand.unheard(number, now + LEASE / 2).is_none() && !hand.is_dead("c"));
        assert!(hand.unheard(number, now + LEASE).is_some() && hand.is_dead("c"));
        hand.held
            .insert(key.clone(), Held { ack: "ack".into(), told: now, fingerprint: None, work: None, verdict: None });
        let number = hand.decide(&key, Bytes::new(), now).unwrap();
        hand.confirmed(number);
        assert!(!hand.is_dead("c"));
    }

    #[test]
    fn server_is_told_of_what_it_has_heard_nothing_of() {
        let (mut hand, key) = hand();
        let (since, patience) = (hand.held[&key].told, Duration::from_millis(500));
        assert!(hand.untold(patience, since).is_empty());
        assert_eq!(hand.untold(patience, since + patience).len(), 1);
        assert!(hand.untold(patience, since + patience).is_empty());
        assert_eq!(hand.untold(patience, since + 2 * patience).len(), 1);
    }

    #[test]
    fn what_is_taken_back_before_it_comes_is_remembered() {
        let mut hand = Hand::default();
        hand.recall("c", Some(7));
        assert!(hand.is_recalled(&("c".into(), 7)) && !hand.is_recalled(&("c".into(), 8)) && !hand.is_dead("c"));
        hand.recall("c", None);
        assert!(hand.is_dead("c"));
    }

    #[test]
    fn remembers_the_latest_that_are_done() {
        let (mut hand, now) = (Hand::default(), Instant::now());
        for task in 0..=N_REMEMBERED as u64 {
            let key = ("c".into(), task);
            hand.held.insert(
                key.clone(),
                Held { ack: "ack".into(), told: now, fingerprint: None, work: None, verdict: None },
            );
            let number = hand.decide(&key, Bytes::new(), now).unwrap();
            hand.confirmed(number);
        }
        assert!(!hand.is_done(&("c".into(), 0)) && hand.is_done(&("c".into(), 1)));
    }
}
