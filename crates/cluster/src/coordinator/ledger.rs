//! What a coordinator has given away and has no verdict on.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use pool::TaskError;

use super::queue::Queue;
use crate::message::Verdict;

/// What is done with a task's verdict.
pub(crate) type Finish = Box<dyn FnOnce(Result<Verdict, TaskError>) + Send>;

/// One task.
///
/// State table of `place`: `Waiting` not sent yet, or to be sent again at a time · `Sent` the server has not acknowledged
/// it · `Stored` the server has. A task leaves the ledger by its first verdict, from whatever place.
struct Entry {
    queue: Arc<Queue>,
    parcel: Bytes,
    /// Of a job's task.
    fingerprint: Option<u64>,
    /// Counts up when the server has lost the task: it would take the same attempt for a duplicate.
    attempt: u32,
    n_refusals: u32,
    place: Place,
    finish: Finish,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Waiting { until: Option<Instant> },
    Sent(Instant),
    Stored,
}

/// Tasks that may be on their way to the server at a time.
const WINDOW: usize = 2048;
/// How many are sent at least at a time, if there are so many: servers store what comes together for less than what comes one by
/// one, and three of them agree on it at once.
const BURST: usize = 256;
/// How long the server may take to acknowledge one.
const ACKNOWLEDGED_IN: Duration = Duration::from_secs(2);
/// How long to wait after a refusal; doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(crate) struct Ledger {
    entries: HashMap<u64, Entry>,
    /// How many of them are of each queue.
    counts: Vec<(Arc<Queue>, usize)>,
    /// To be sent as soon as the window allows.
    queue: VecDeque<u64>,
    n_sent: usize,
    pub(crate) n_resubmitted: u64,
}

/// What is to be published.
pub(crate) struct Publication {
    pub(crate) queue: Arc<Queue>,
    pub(crate) task: u64,
    pub(crate) attempt: u32,
    pub(crate) parcel: Bytes,
}

impl Ledger {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn enter(&mut self, queue: &Arc<Queue>, task: u64, parcel: Bytes, finish: Finish) {
        let place = Place::Waiting { until: None };
        self.entries.insert(
            task,
            Entry { queue: queue.clone(), parcel, fingerprint: None, attempt: 0, n_refusals: 0, place, finish },
        );
        match self.counts.iter_mut().find(|(counted, _)| Arc::ptr_eq(counted, queue)) {
            Some((_, n_tasks)) => *n_tasks += 1,
            None => self.counts.push((queue.clone(), 1)),
        }
        self.queue.push_back(task);
    }

    /// What a task that was just entered is in its job; and whether the server has had it from an earlier program.
    pub(crate) fn keep(&mut self, task: u64, fingerprint: u64, is_stored: bool) {
        if let Some(entry) = self.entries.get_mut(&task) {
            entry.fingerprint = Some(fingerprint);
            if is_stored {
                entry.place = Place::Stored;
            }
        }
    }

    /// Whether a job's task has no verdict yet; and whether a verdict with this fingerprint is its own.
    pub(crate) fn is_own(&self, task: u64, fingerprint: u64) -> Option<bool> {
        Some(self.entries.get(&task)?.fingerprint == Some(fingerprint))
    }

    /// Whether there is room for a burst, or for all that is to be sent.
    pub(crate) fn has_room(&self) -> bool {
        WINDOW - self.n_sent >= BURST.min(self.queue.len())
    }

    /// The next task to publish, which is `Sent` from now on.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Publication> {
        while self.n_sent < WINDOW {
            let task = self.queue.pop_front()?;
            if let Some(entry) =
                self.entries.get_mut(&task).filter(|entry| matches!(entry.place, Place::Waiting { .. }))
            {
                entry.place = Place::Sent(now);
                self.n_sent += 1;
                let (queue, parcel) = (entry.queue.clone(), entry.parcel.clone());
                return Some(Publication { queue, task, attempt: entry.attempt, parcel });
            }
        }
        None
    }

    /// The queues of which there are tasks.
    pub(crate) fn queues(&self) -> Vec<Arc<Queue>> {
        self.counts.iter().map(|(queue, _)| queue.clone()).collect()
    }

    /// The whole of a task that has no verdict yet.
    pub(crate) fn whole(&self, task: u64) -> Option<Bytes> {
        Some(self.entries.get(&task)?.parcel.clone())
    }

    /// The server has stored it.
    pub(crate) fn stored(&mut self, task: u64) {
        if let Some(entry) = self.entries.get_mut(&task) {
            if matches!(entry.place, Place::Sent(_)) {
                self.n_sent -= 1;
            }
            entry.place = Place::Stored;
        }
    }

    /// The server has not: later, then.
    pub(crate) fn refused(&mut self, task: u64, now: Instant) {
        let Some(entry) = self.entries.get_mut(&task) else { return };
        if matches!(entry.place, Place::Sent(_)) {
            self.n_sent -= 1;
            let pause = FIRST_PAUSE * 2_u32.pow(entry.n_refusals.min(10));
            entry.n_refusals += 1;
            entry.place = Place::Waiting { until: Some(now + pause.min(LONGEST_PAUSE)) };
        }
    }

    /// Queues what the server has not acknowledged in time, and what has waited long enough.
    pub(crate) fn look_again(&mut self, now: Instant) {
        for (task, entry) in &mut self.entries {
            let is_due = match entry.place {
                Place::Sent(since) => now.duration_since(since) > ACKNOWLEDGED_IN,
                Place::Waiting { until } => until.is_some_and(|until| until <= now),
                Place::Stored => false,
            };
            if is_due {
                if matches!(entry.place, Place::Sent(_)) {
                    self.n_sent -= 1;
                }
                entry.place = Place::Waiting { until: None };
                self.queue.push_back(*task);
            }
        }
    }

    /// Takes a task out: its first verdict, or its cancellation.
    pub(crate) fn leave(&mut self, task: u64) -> Option<Finish> {
        let entry = self.entries.remove(&task)?;
        if matches!(entry.place, Place::Sent(_)) {
            self.n_sent -= 1;
        }
        if let Some(at) = self.counts.iter().position(|(counted, _)| Arc::ptr_eq(counted, &entry.queue)) {
            self.counts[at].1 -= 1;
            if self.counts[at].1 == 0 {
                self.counts.swap_remove(at);
            }
        }
        Some(entry.finish)
    }

    /// Takes all tasks of one queue out.
    pub(crate) fn leave_queue(&mut self, queue: &Arc<Queue>) -> Vec<Finish> {
        let is_in = |entry: &Entry| Arc::ptr_eq(&entry.queue, queue);
        let tasks: Vec<u64> = self.entries.iter().filter(|(_, entry)| is_in(entry)).map(|(task, _)| *task).collect();
        tasks.into_iter().filter_map(|task| self.leave(task)).collect()
    }

    /// Takes all tasks out.
    pub(crate) fn leave_all(&mut self) -> Vec<Finish> {
        self.queue.clear();
        self.counts.clear();
        self.n_sent = 0;
        self.entries.drain().map(|(_, entry)| entry.finish).collect()
    }

    /// Whether the server has stored a task of this queue.
    pub(crate) fn has_stored(&self, queue: &Arc<Queue>) -> bool {
        self.entries.values().any(|entry| entry.place == Place::Stored && Arc::ptr_eq(&entry.queue, queue))
    }

    /// Those that the server has stored, but for jobs.
    pub(crate) fn all_stored(&self) -> Vec<u64> {
        let is_one = |entry: &Entry| entry.place == Place::Stored && entry.fingerprint.is_none();
        self.entries.iter().filter(|(_, entry)| is_one(entry)).map(|(task, _)| *task).collect()
    }

    /// Those of one queue that the server has stored.
    pub(crate) fn stored_of(&self, queue: &Arc<Queue>) -> Vec<u64> {
        let is_one = |entry: &Entry| entry.place == Place::Stored && Arc::ptr_eq(&entry.queue, queue);
        self.entries.iter().filter(|(_, entry)| is_one(entry)).map(|(task, _)| *task).collect()
    }

    /// Gives those of `tasks` that have no verdict yet once more: the server has lost them.
    pub(crate) fn resubmit(&mut self, tasks: &[u64]) {
        self.n_resubmitted += self.give_again(tasks);
    }

    /// Gives those of `tasks` that have no verdict yet once more, and says how many.
    pub(crate) fn give_again(&mut self, tasks: &[u64]) -> u64 {
        let mut n_given = 0;
        for task in tasks {
            if let Some(entry) = self.entries.get_mut(task).filter(|entry| entry.place == Place::Stored) {
                entry.attempt += 1;
                entry.place = Place::Waiting { until: None };
                self.queue.push_back(*task);
                n_given += 1;
            }
        }
        n_given
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{Names, QueueName};

    fn queue(build: &str) -> Arc<Queue> {
        Arc::new(Queue::new(QueueName::of_build(build), &Names::new("p").unwrap(), "c"))
    }

    fn ledger(n_tasks: u64) -> Ledger {
        let (mut ledger, queue) = (Ledger::default(), queue("a"));
        (0..n_tasks).for_each(|task| ledger.enter(&queue, task, Bytes::new(), Box::new(drop)));
        ledger
    }

    #[test]
    fn tasks_of_one_queue_leave_together() {
        let (mut ledger, a, b) = (Ledger::default(), queue("a"), queue("b"));
        for (task, queue) in [(0, &a), (1, &b), (2, &a)] {
            ledger.enter(queue, task, Bytes::new(), Box::new(drop));
        }
        let now = Instant::now();
        assert!(ledger.next(now).is_some() && !ledger.has_stored(&a));
        ledger.stored(0);
        assert!(ledger.has_stored(&a) && !ledger.has_stored(&b));
        assert_eq!((ledger.queues().len(), ledger.leave_queue(&a).len(), ledger.len()), (2, 2, 1));
        assert!(ledger.leave(1).is_some() && ledger.queues().is_empty());
    }

    #[test]
    fn window_opens_by_acknowledgements_refusals_and_verdicts() {
        let (mut ledger, now) = (ledger(WINDOW as u64 + 3), Instant::now());
        for task in 0..WINDOW as u64 {
            assert_eq!(ledger.next(now).unwrap().task, task);
        }
        assert!(ledger.next(now).is_none());
        ledger.stored(0);
        assert_eq!(ledger.next(now).unwrap().task, WINDOW as u64);
        ledger.refused(1, now);
        assert_eq!(ledger.next(now).unwrap().task, WINDOW as u64 + 1);
        assert!(ledger.leave(2).is_some() && ledger.leave(2).is_none());
        assert_eq!(ledger.next(now).unwrap().task, WINDOW as u64 + 2);
    }

    #[test]
    fn a_full_window_is_filled_again_by_bursts() {
        let (mut ledger, now) = (ledger((WINDOW + BURST) as u64), Instant::now());
        assert!(ledger.has_room());
        while ledger.next(now).is_some() {}
        assert!(!ledger.has_room());
        (0..BURST as u64 - 1).for_each(|task| ledger.stored(task));
        assert!(!ledger.has_room());
        ledger.stored(BURST as u64 - 1);
        assert!(ledger.has_room());
        // The last one goes as soon as there is room for it.
        (1..BURST).for_each(|_| drop(ledger.next(now)));
        assert!(ledger.has_room() && ledger.next(now).is_some() && ledger.has_room());
    }

    #[test]
    fn refused_and_unanswered_tasks_are_sent_again_as_the_same_attempt() {
        let (mut ledger, now) = (ledger(2), Instant::now());
        assert_eq!((ledger.next(now).unwrap().task, ledger.next(now).unwrap().task), (0, 1));
        ledger.refused(0, now);
        ledger.look_again(now);
        assert!(ledger.next(now).is_none());
        let later = now + ACKNOWLEDGED_IN + LONGEST_PAUSE;
        ledger.look_again(later);
        let mut again = [ledger.next(later).unwrap(), ledger.next(later).unwrap()].map(|out| (out.task, out.attempt));
        again.sort_unstable();
        assert_eq!(again, [(0, 0), (1, 0)]);
        assert!(ledger.next(later).is_none());
    }

    #[test]
    fn lost_tasks_are_another_attempt() {
        let (mut ledger, now) = (ledger(2), Instant::now());
        while ledger.next(now).is_some() {}
        ledger.stored(0);
        ledger.stored(1);
        let mut lost = ledger.all_stored();
        lost.sort_unstable();
        assert_eq!(lost, [0, 1]);
        // One verdict came meanwhile.
        assert!(ledger.leave(1).is_some());
        ledger.resubmit(&lost);
        let out = ledger.next(now).unwrap();
        assert_eq!((out.task, out.attempt, ledger.n_resubmitted), (0, 1, 1));
        assert!(ledger.next(now).is_none() && ledger.len() == 1);
    }
}
