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

use super::recalled::Recalled;

/// Which task: its coordinator, and that one's number of it.
pub(super) type Key = (Arc<str>, u64);

/// What each call of a task gives: its packed value.
pub(super) type Packed = Result<Vec<u8>, CallError>;

/// A task in the local pool.
pub(super) type Work = Arc<Task<Chunk<Packed>>>;

/// A task in hand, from its delivery until it is over.
#[derive(Default)]
pub(super) struct Held {
    /// The message that it came in; the latest, if it came again meanwhile.
    delivery: u64,
    /// Of a job's task.
    pub(super) fingerprint: Option<u64>,
    pub(super) work: Option<Work>,
    pub(super) verdict: Option<UnconfirmedVerdict>,
}

/// A message with one task or several, from its coming until the server has been told that all are over.
struct Delivery {
    /// Where the server is told.
    ack: Subject,
    /// When the server gave it, or was told last that it is worked on.
    told: Instant,
    /// How many hosts were lost with it.
    n_lost: u64,
    is_batch: bool,
    /// Tasks of it that are in hand.
    n_held: usize,
}

/// A verdict that the coordinator has not confirmed.
pub(super) struct UnconfirmedVerdict {
    pub(super) number: u64,
    pub(super) message: Bytes,
    pub(super) sent: Instant,
    /// It says that the task was not begun: the coordinator gives it once more.
    gives_back: bool,
    /// Since when no coordinator has been there to take it.
    pub(super) alone_since: Option<Instant>,
}

/// How long an agent waits for a coordinator that is not there. One whose server is restarted comes back in a moment.
pub(super) const LEASE: Duration = Duration::from_secs(30);
/// After how long a verdict without an answer is sent again.
const RESENT_AFTER: Duration = Duration::from_secs(1);
/// Tasks that are remembered as done, since the server may not have heard of that.
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
    deliveries: HashMap<u64, Delivery>,
    next_delivery: u64,
    /// Of verdicts, by their numbers.
    numbers: HashMap<u64, Key>,
    next_number: u64,
    done: Latest,
    recalled: Recalled,
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
        self.recalled.contains(&key.0, key.1)
    }

    /// A coordinator takes back one task, or all: whatever of them is still to come is wanted no more.
    pub(super) fn recall(&mut self, coordinator: &str, task: Option<u64>) {
        match task {
            Some(task) => {
                let (name, task) = self.key(coordinator, task);
                self.recalled.insert(&name, task);
            }
            None => {
                let (name, _) = self.key(coordinator, 0);
                self.presume_dead(&name);
            }
        }
    }

    /// A coordinator does not answer.
    pub(super) fn presume_dead(&mut self, coordinator: &Arc<str>) {
        if self.dead.len() >= N_COORDINATORS {
            // Each is found out anew.
            self.dead.clear();
        }
        self.dead.insert(coordinator.clone());
    }

    /// A coordinator that seemed dead is there.
    pub(super) fn revive(&mut self, coordinator: &str) {
        self.dead.remove(coordinator);
    }

    pub(super) fn is_dead(&self, coordinator: &str) -> bool {
        self.dead.contains(coordinator)
    }

    /// A message has come; its tasks are [taken](Self::hold) in hand next.
    pub(super) fn deliver(&mut self, ack: Subject, n_lost: u64, is_batch: bool, now: Instant) -> u64 {
        let number = self.next_delivery;
        self.next_delivery += 1;
        self.deliveries.insert(number, Delivery { ack, told: now, n_lost, is_batch, n_held: 0 });
        number
    }

    /// Takes a task of a message in hand; false if it is in hand already. Then it came again, as the server took this agent for
    /// lost, and what the server waits for is an answer to this message.
    pub(super) fn hold(&mut self, key: &Key, delivery: u64) -> bool {
        let before = self.held.get(key).map(|held| held.delivery);
        let is_alone = self.delivery(key).is_some_and(|before| !before.is_batch);
        let Some(arrived) = self.deliveries.get_mut(&delivery) else { return false };
        if is_alone && arrived.is_batch {
            // It was taken out of this batch before.
            return false;
        }
        arrived.n_held += 1;
        self.held.entry(key.clone()).or_default().delivery = delivery;
        if let Some(before) = before {
            // An answer to the message before would be taken for one to this message, if they are the same one.
            self.release(before);
        }
        before.is_none()
    }

    /// A task comes alone. If this agent has given it back, the coordinator has taken it: the confirmation was lost, or is
    /// slower. Where to tell the server of its batch, if it was the last of that.
    pub(super) fn comes_alone(&mut self, key: &Key) -> Option<Subject> {
        let verdict = self.held.get(key)?.verdict.as_ref().filter(|verdict| verdict.gives_back)?;
        self.confirmed(verdict.number)
    }

    /// A message has one task in hand less; where to answer it, if that was the last one.
    fn release(&mut self, delivery: u64) -> Option<Subject> {
        let known = self.deliveries.get_mut(&delivery)?;
        known.n_held -= 1;
        if known.n_held > 0 { None } else { Some(self.deliveries.remove(&delivery)?.ack) }
    }

    /// Where to answer a message of which no task was taken in hand.
    pub(super) fn refuse(&mut self, delivery: u64) -> Option<Subject> {
        let is_empty = self.deliveries.get(&delivery)?.n_held == 0;
        if is_empty { Some(self.deliveries.remove(&delivery)?.ack) } else { None }
    }

    /// How many hosts were lost with a task's message.
    pub(super) fn n_lost(&self, key: &Key) -> u64 {
        self.delivery(key).map_or(0, |delivery| delivery.n_lost)
    }

    /// Whether a task came with others.
    pub(super) fn is_of_batch(&self, key: &Key) -> bool {
        self.delivery(key).is_some_and(|delivery| delivery.is_batch)
    }

    fn delivery(&self, key: &Key) -> Option<&Delivery> {
        self.deliveries.get(&self.held.get(key)?.delivery)
    }

    /// Notes the verdict on a task, and says under which number it is to be sent.
    pub(super) fn decide(&mut self, key: &Key, message: Bytes, gives_back: bool, now: Instant) -> Option<u64> {
        let held = self.held.get_mut(key)?;
        let number = self.next_number;
        self.next_number += 1;
        held.work = None;
        held.verdict = Some(UnconfirmedVerdict { number, message, sent: now, gives_back, alone_since: None });
        self.numbers.insert(number, key.clone());
        Some(number)
    }

    /// The coordinator has confirmed this verdict: the task is over. Where to tell the server, if it was the last of its message.
    pub(super) fn confirmed(&mut self, number: u64) -> Option<Subject> {
        let key = self.numbers.remove(&number)?;
        self.dead.remove(&key.0);
        let held = self.held.remove(&key)?;
        // A job may have the same task done again; and one that was given back may come once more.
        if held.fingerprint.is_none() && !held.verdict.is_some_and(|verdict| verdict.gives_back) {
            self.done.insert(key);
        }
        self.release(held.delivery)
    }

    /// No coordinator was there to take this verdict. After a lease, the task is dropped. Where to tell the server, if it was
    /// the last of its message.
    pub(super) fn unheard(&mut self, number: u64, now: Instant) -> Option<Subject> {
        let key = self.numbers.get(&number)?;
        let verdict = self.held.get_mut(key)?.verdict.as_mut()?;
        let since = *verdict.alone_since.get_or_insert(now);
        if now.duration_since(since) < LEASE {
            return None;
        }
        let key = self.numbers.remove(&number)?;
        let held = self.held.remove(&key)?;
        // A job has no coordinator that could be dead.
        if held.fingerprint.is_none() {
            self.presume_dead(&key.0);
        }
        self.release(held.delivery)
    }

    /// The whole of a verdict that is not confirmed.
    pub(super) fn verdict(&self, number: u64) -> Option<&Bytes> {
        let held = self.held.get(self.numbers.get(&number)?)?;
        Some(&held.verdict.as_ref()?.message)
    }

    /// Lets go of a task without a verdict: its work, and where to tell the server, if it was the last of its message.
    pub(super) fn let_go(&mut self, key: &Key) -> (Option<Work>, Option<Subject>) {
        let Some(held) = self.held.remove(key) else { return (None, None) };
        if let Some(verdict) = &held.verdict {
            self.numbers.remove(&verdict.number);
        }
        (held.work, self.release(held.delivery))
    }

    /// The tasks for which `wanted` says so.
    pub(super) fn keys(&self, wanted: impl Fn(&Key, &Held) -> bool) -> Vec<Key> {
        self.held.iter().filter(|(key, held)| wanted(key, held)).map(|(key, _)| key.clone()).collect()
    }

    /// Where the server is to be told that messages are worked on: those that it has heard nothing of for `patience`. In a
    /// replicated stream, each word costs as much as an acknowledgement, and most tasks end before it is due.
    pub(super) fn untold(&mut self, patience: Duration, now: Instant) -> Vec<Subject> {
        let untold = self.deliveries.values_mut().filter(|message| now.duration_since(message.told) >= patience);
        let told = untold.map(|message| {
            message.told = now;
            message.ack.clone()
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

    /// Takes these tasks in hand, which came in one message.
    fn deliver(hand: &mut Hand, tasks: impl IntoIterator<Item = u64>) -> Vec<Key> {
        let keys: Vec<Key> = tasks.into_iter().map(|task| ("c".into(), task)).collect();
        let ack = format!("ack-{}", hand.next_delivery);
        let delivery = hand.deliver(ack.into(), 0, keys.len() > 1, Instant::now());
        assert!(keys.iter().all(|key| hand.hold(key, delivery)));
        keys
    }

    fn hand() -> (Hand, Key) {
        let mut hand = Hand::default();
        let key = deliver(&mut hand, [7]).remove(0);
        (hand, key)
    }

    #[test]
    fn verdict_is_sent_until_it_is_confirmed() {
        let ((mut hand, key), now) = (hand(), Instant::now());
        assert!(hand.overdue(now + RESENT_AFTER).is_empty());
        let number = hand.decide(&key, Bytes::new(), false, now).unwrap();
        assert!(hand.overdue(now).is_empty());
        assert_eq!(hand.overdue(now + RESENT_AFTER).len(), 1);
        assert!(hand.overdue(now + RESENT_AFTER).is_empty());
        assert_eq!(hand.overdue(now + RESENT_AFTER * 2)[0].1, number);
        assert!(hand.confirmed(number).is_some() && hand.confirmed(number).is_none());
        assert!(hand.is_done(&key) && hand.held.is_empty() && hand.deliveries.is_empty());
    }

    #[test]
    fn batch_is_answered_when_its_last_task_is_over() {
        let (mut hand, now) = (Hand::default(), Instant::now());
        let keys = deliver(&mut hand, [1, 2, 3]);
        assert!(keys.iter().all(|key| hand.is_of_batch(key)));
        assert_eq!(hand.untold(Duration::ZERO, now + LEASE).len(), 1, "one word for all of them");
        let first = hand.decide(&keys[0], Bytes::new(), false, now).unwrap();
        assert_eq!(hand.confirmed(first), None);
        assert!(hand.let_go(&keys[1]).1.is_none());
        let last = hand.decide(&keys[2], Bytes::new(), false, now).unwrap();
        assert_eq!(hand.confirmed(last), Some("ack-0".into()));
        assert!(hand.deliveries.is_empty());
    }

    #[test]
    fn message_that_comes_again_is_answered_in_the_place_of_the_first() {
        let (mut hand, now) = (Hand::default(), Instant::now());
        let keys = deliver(&mut hand, [1, 2]);
        let first = hand.decide(&keys[0], Bytes::new(), false, now).unwrap();
        assert_eq!(hand.confirmed(first), None);
        let again = hand.deliver("again".into(), 1, true, now);
        assert!(!hand.hold(&keys[1], again));
        assert_eq!((hand.deliveries.len(), hand.n_lost(&keys[1])), (1, 1));
        let last = hand.decide(&keys[1], Bytes::new(), false, now).unwrap();
        assert_eq!(hand.confirmed(last), Some("again".into()));
        let idle = hand.deliver("idle".into(), 1, true, now);
        assert_eq!((hand.refuse(idle), hand.refuse(idle)), (Some("idle".into()), None));
    }

    #[test]
    fn batch_that_comes_again_has_nothing_to_say_of_what_came_alone() {
        let (mut hand, now) = (Hand::default(), Instant::now());
        let key = deliver(&mut hand, [1]).remove(0);
        let batch = hand.deliver("batch".into(), 3, true, now);
        assert!(!hand.hold(&key, batch));
        assert_eq!((hand.refuse(batch), hand.n_lost(&key)), (Some("batch".into()), 0));
        let number = hand.decide(&key, Bytes::new(), false, now).unwrap();
        assert_eq!(hand.confirmed(number), Some("ack-0".into()));
    }

    #[test]
    fn task_that_was_given_back_is_taken_anew() {
        let (mut hand, now) = (Hand::default(), Instant::now());
        let keys = deliver(&mut hand, [1, 2]);
        let numbers = [0, 1].map(|at| hand.decide(&keys[at], Bytes::new(), true, now).unwrap());
        assert_eq!(hand.confirmed(numbers[0]), None);
        assert!(!hand.is_done(&keys[0]));
        // Its confirmation was lost, and the task comes alone.
        let alone = hand.deliver("alone".into(), 0, false, now);
        assert_eq!(hand.comes_alone(&keys[1]), Some("ack-0".into()));
        assert!(hand.hold(&keys[1], alone) && hand.held[&keys[1]].verdict.is_none());
        assert_eq!((hand.confirmed(numbers[1]), hand.comes_alone(&keys[1])), (None, None));
        let number = hand.decide(&keys[1], Bytes::new(), false, now).unwrap();
        assert_eq!(hand.confirmed(number), Some("alone".into()));
        assert!(hand.is_done(&keys[1]) && hand.deliveries.is_empty());
    }

    #[test]
    fn coordinator_that_is_away_for_a_lease_is_dead_and_can_come_back() {
        let ((mut hand, key), now) = (hand(), Instant::now());
        let number = hand.decide(&key, Bytes::new(), false, now).unwrap();
        assert!(hand.unheard(number, now).is_none());
        assert!(hand.unheard(number, now + LEASE / 2).is_none() && !hand.is_dead("c"));
        assert!(hand.unheard(number, now + LEASE).is_some() && hand.is_dead("c"));
        let key = deliver(&mut hand, [key.1]).remove(0);
        let number = hand.decide(&key, Bytes::new(), false, now).unwrap();
        hand.confirmed(number);
        assert!(!hand.is_dead("c"));
    }

    #[test]
    fn server_is_told_of_what_it_has_heard_nothing_of() {
        let (mut hand, key) = hand();
        let (since, patience) = (hand.delivery(&key).unwrap().told, Duration::from_millis(500));
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
            let key = deliver(&mut hand, [task]).remove(0);
            let number = hand.decide(&key, Bytes::new(), false, now).unwrap();
            hand.confirmed(number);
        }
        assert!(!hand.is_done(&("c".into(), 0)) && hand.is_done(&("c".into(), 1)));
    }
}
