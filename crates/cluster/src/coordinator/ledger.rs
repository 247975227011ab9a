//! What a coordinator has given away and has no verdict on.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use pool::TaskError;

use super::{queue::Queue, span::Span};
use crate::message::{self, Verdict};

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
    /// The message that it was sent in, which is the same each time that it has to be sent: the server knows it again.
    span: Option<Span>,
    /// Counts up when the task goes in another message: the server would take the same attempt for a duplicate.
    attempt: u32,
    /// How many hosts were lost with it, before it was taken out of a batch.
    n_lost: u64,
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

impl Entry {
    fn is_waiting(&self) -> bool {
        matches!(self.place, Place::Waiting { .. })
    }

    /// Whether it may go in one message with others: it goes for the first time, and the server knows a job's tasks one by one.
    fn may_be_joined(&self) -> bool {
        self.is_waiting() && self.span.is_none() && self.attempt == 0 && self.fingerprint.is_none()
    }
}

/// Tasks that may be on their way to the server at a time.
const WINDOW: usize = 2048;
/// How many are sent at least at a time, if there are so many: servers store what comes together for less than what comes one by
/// one, and three of them agree on it at once.
const BURST: usize = 256;
/// Tasks in one message at most.
const MAX_TOGETHER: usize = 32;
/// They take so many bytes at most, all together.
const MAX_BYTES_TOGETHER: usize = 32 << 10;
/// Of what is to be sent, each worker is to get so many messages: short tasks go together only where there are many.
const MESSAGES_A_WORKER: usize = 4;
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

/// A message that is to be published.
pub(crate) struct Publication {
    pub(crate) queue: Arc<Queue>,
    pub(super) span: Span,
    pub(crate) attempt: u32,
    pub(crate) n_lost: u64,
    /// One or several tasks, and their parcels.
    pub(crate) parcels: Vec<(u64, Bytes)>,
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
            Entry {
                queue: queue.clone(),
                parcel,
                fingerprint: None,
                span: None,
                attempt: 0,
                n_lost: 0,
                n_refusals: 0,
                place,
                finish,
            },
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
        WINDOW.saturating_sub(self.n_sent) >= BURST.min(self.queue.len())
    }

    /// The next message to publish, whose tasks are `Sent` from now on.
    /// Several tasks go together only if they take no more than `max_bytes`.
    pub(crate) fn next(&mut self, max_bytes: usize, now: Instant) -> Option<Publication> {
        while self.n_sent < WINDOW {
            let task = self.queue.pop_front()?;
            let Some(entry) = self.entries.get(&task).filter(|entry| entry.is_waiting()) else { continue };
            let (queue, attempt, n_lost) = (entry.queue.clone(), entry.attempt, entry.n_lost);
            let span = entry.span.unwrap_or_else(|| self.span_from(task, max_bytes));
            let mut parcels = Vec::new();
            for task in span.tasks() {
                // What has left a batch, to go alone, is not in it when it is sent again.
                let is_of_it = |entry: &&mut Entry| entry.is_waiting() && entry.span == Some(span);
                if let Some(entry) = self.entries.get_mut(&task).filter(is_of_it) {
                    entry.place = Place::Sent(now);
                    parcels.push((task, entry.parcel.clone()));
                }
            }
            self.n_sent += parcels.len();
            return Some(Publication { queue, span, attempt, n_lost, parcels });
        }
        None
    }

    /// The message of a task that is in none: with those that follow it, if they are short and many.
    fn span_from(&mut self, task: u64, max_bytes: usize) -> Span {
        let span = self.span_of_many(task, max_bytes.min(MAX_BYTES_TOGETHER)).unwrap_or(Span::of(task));
        for task in span.tasks() {
            if let Some(entry) = self.entries.get_mut(&task) {
                entry.span = Some(span);
            }
        }
        span
    }

    fn span_of_many(&mut self, task: u64, max_bytes: usize) -> Option<Span> {
        let first = self.entries.get(&task).filter(|entry| entry.may_be_joined())?;
        let mut span = Span::of(task);
        let share = (self.queue.len() + 1) / (MESSAGES_A_WORKER * first.queue.n_workers());
        let n_most = share.min(first.queue.n_short()).min(MAX_TOGETHER);
        let mut n_bytes = message::len_joined(&first.parcel);
        for _ in 1..n_most {
            let next = span.last() + 1;
            let Some(entry) = self.entries.get(&next).filter(|_| self.queue.front() == Some(&next)) else { break };
            n_bytes += message::len_joined(&entry.parcel);
            if !entry.may_be_joined() || !Arc::ptr_eq(&entry.queue, &first.queue) || n_bytes > max_bytes {
                break;
            }
            self.queue.pop_front();
            span = span.and_next();
        }
        Some(span)
    }

    /// The queues of which there are tasks.
    pub(crate) fn queues(&self) -> Vec<Arc<Queue>> {
        self.counts.iter().map(|(queue, _)| queue.clone()).collect()
    }

    /// The whole of a task that has no verdict yet.
    pub(crate) fn whole(&self, task: u64) -> Option<Bytes> {
        Some(self.entries.get(&task)?.parcel.clone())
    }

    /// The server has stored a message.
    pub(super) fn stored(&mut self, span: Span) {
        for task in span.tasks().take(MAX_TOGETHER) {
            if let Some(entry) = self.entries.get_mut(&task).filter(|entry| entry.span == Some(span)) {
                if matches!(entry.place, Place::Sent(_)) {
                    self.n_sent -= 1;
                }
                entry.place = Place::Stored;
            }
        }
    }

    /// The server has not: later, then.
    pub(super) fn refused(&mut self, span: Span, now: Instant) {
        for task in span.tasks().take(MAX_TOGETHER) {
            let Some(entry) = self.entries.get_mut(&task).filter(|entry| entry.span == Some(span)) else { continue };
            if matches!(entry.place, Place::Sent(_)) {
                self.n_sent -= 1;
                let pause = FIRST_PAUSE * 2_u32.pow(entry.n_refusals.min(10));
                entry.n_refusals += 1;
                entry.place = Place::Waiting { until: Some(now + pause.min(LONGEST_PAUSE)) };
            }
        }
    }

    /// An agent has taken a task out of a batch and has not begun it: it goes alone now. What was told before is no news.
    pub(crate) fn give_alone(&mut self, task: u64, n_lost: u64) {
        let is_of_batch = |entry: &&mut Entry| entry.span.is_some_and(|span| !span.is_one());
        let Some(entry) = self.entries.get_mut(&task).filter(is_of_batch) else { return };
        if matches!(entry.place, Place::Sent(_)) {
            self.n_sent -= 1;
        }
        entry.span = None;
        entry.attempt += 1;
        entry.n_lost = n_lost;
        entry.place = Place::Waiting { until: None };
        self.queue.push_back(task);
    }

    /// How long a task's calls have taken.
    pub(crate) fn learn(&self, task: u64, busy: Duration) {
        if let Some(entry) = self.entries.get(&task) {
            entry.queue.learn(busy);
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

    /// Those that the server has stored, but for jobs; and which attempt at each.
    pub(crate) fn all_stored(&self) -> Vec<(u64, u32)> {
        let is_one = |entry: &Entry| entry.place == Place::Stored && entry.fingerprint.is_none();
        self.entries.iter().filter(|(_, entry)| is_one(entry)).map(|(task, entry)| (*task, entry.attempt)).collect()
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

    /// The same, if the server has lost these attempts. A task that went in another message meanwhile is not concerned.
    pub(crate) fn resubmit_attempts(&mut self, attempts: &[(u64, u32)]) {
        let is_it =
            |(task, attempt): &&(u64, u32)| self.entries.get(task).is_some_and(|entry| entry.attempt == *attempt);
        let lost: Vec<u64> = attempts.iter().filter(is_it).map(|(task, _)| *task).collect();
        self.resubmit(&lost);
    }

    /// Gives those of `tasks` that have no verdict yet once more, and says how many.
    pub(crate) fn give_again(&mut self, tasks: &[u64]) -> u64 {
        let mut n_given = 0;
        for task in tasks {
            if let Some(entry) = self.entries.get_mut(task).filter(|entry| entry.place == Place::Stored) {
                entry.span = None;
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

    fn only(out: Option<Publication>) -> u64 {
        let parcels = out.unwrap().parcels;
        assert_eq!(parcels.len(), 1);
        parcels[0].0
    }

    #[test]
    fn tasks_of_one_queue_leave_together() {
        let (mut ledger, a, b) = (Ledger::default(), queue("a"), queue("b"));
        for (task, queue) in [(0, &a), (1, &b), (2, &a)] {
            ledger.enter(queue, task, Bytes::new(), Box::new(drop));
        }
        let now = Instant::now();
        assert!(ledger.next(usize::MAX, now).is_some() && !ledger.has_stored(&a));
        ledger.stored(Span::of(0));
        assert!(ledger.has_stored(&a) && !ledger.has_stored(&b));
        assert_eq!((ledger.queues().len(), ledger.leave_queue(&a).len(), ledger.len()), (2, 2, 1));
        assert!(ledger.leave(1).is_some() && ledger.queues().is_empty());
    }

    #[test]
    fn window_opens_by_acknowledgements_refusals_and_verdicts() {
        let (mut ledger, now) = (ledger(WINDOW as u64 + 3), Instant::now());
        for task in 0..WINDOW as u64 {
            assert_eq!(only(ledger.next(usize::MAX, now)), task);
        }
        assert!(ledger.next(usize::MAX, now).is_none());
        ledger.stored(Span::of(0));
        assert_eq!(only(ledger.next(usize::MAX, now)), WINDOW as u64);
        ledger.refused(Span::of(1), now);
        assert_eq!(only(ledger.next(usize::MAX, now)), WINDOW as u64 + 1);
        assert!(ledger.leave(2).is_some() && ledger.leave(2).is_none());
        assert_eq!(only(ledger.next(usize::MAX, now)), WINDOW as u64 + 2);
    }

    #[test]
    fn a_full_window_is_filled_again_by_bursts() {
        let (mut ledger, now) = (ledger((WINDOW + BURST) as u64), Instant::now());
        assert!(ledger.has_room());
        while ledger.next(usize::MAX, now).is_some() {}
        assert!(!ledger.has_room());
        (0..BURST as u64 - 1).for_each(|task| ledger.stored(Span::of(task)));
        assert!(!ledger.has_room());
        ledger.stored(Span::of(BURST as u64 - 1));
        assert!(ledger.has_room());
        // The last one goes as soon as there is room for it.
        (1..BURST).for_each(|_| drop(ledger.next(usize::MAX, now)));
        assert!(ledger.has_room() && ledger.next(usize::MAX, now).is_some() && ledger.has_room());
    }

    #[test]
    fn refused_and_unanswered_tasks_are_sent_again_as_the_same_attempt() {
        let (mut ledger, now) = (ledger(2), Instant::now());
        assert_eq!((only(ledger.next(usize::MAX, now)), only(ledger.next(usize::MAX, now))), (0, 1));
        ledger.refused(Span::of(0), now);
        ledger.look_again(now);
        assert!(ledger.next(usize::MAX, now).is_none());
        let later = now + ACKNOWLEDGED_IN + LONGEST_PAUSE;
        ledger.look_again(later);
        let mut again = [ledger.next(usize::MAX, later), ledger.next(usize::MAX, later)]
            .map(|out| (out.as_ref().unwrap().attempt, only(out)));
        again.sort_unstable();
        assert_eq!(again, [(0, 0), (0, 1)]);
        assert!(ledger.next(usize::MAX, later).is_none());
    }

    #[test]
    fn lost_tasks_are_another_attempt() {
        let (mut ledger, now) = (ledger(2), Instant::now());
        while ledger.next(usize::MAX, now).is_some() {}
        ledger.stored(Span::of(0));
        ledger.stored(Span::of(1));
        let mut lost = ledger.all_stored();
        lost.sort_unstable();
        assert_eq!(lost, [(0, 0), (1, 0)]);
        // One verdict came meanwhile.
        assert!(ledger.leave(1).is_some());
        ledger.resubmit_attempts(&lost);
        let out = ledger.next(usize::MAX, now).unwrap();
        assert_eq!((out.attempt, only(Some(out)), ledger.n_resubmitted), (1, 0, 1));
        assert!(ledger.next(usize::MAX, now).is_none() && ledger.len() == 1);
        // It is on its way: what was lost is the attempt before.
        ledger.stored(Span::of(0));
        ledger.resubmit_attempts(&lost);
        assert!(ledger.next(usize::MAX, now).is_none() && ledger.n_resubmitted == 1);
    }

    /// A ledger of short tasks, and its queue.
    fn short(n_tasks: u64) -> (Ledger, Arc<Queue>) {
        let (mut ledger, queue) = (Ledger::default(), queue("a"));
        queue.learn(Duration::from_micros(1));
        (0..n_tasks).for_each(|task| ledger.enter(&queue, task, Bytes::from_static(b"task"), Box::new(drop)));
        (ledger, queue)
    }

    fn tasks(out: &Publication) -> Vec<u64> {
        out.parcels.iter().map(|(task, _)| *task).collect()
    }

    #[test]
    fn short_tasks_go_together_where_there_are_many_and_the_last_ones_alone() {
        let (mut ledger, _) = short(1000);
        let sizes: Vec<usize> =
            std::iter::from_fn(|| Some(ledger.next(usize::MAX, Instant::now())?.parcels.len())).collect();
        assert_eq!((sizes.iter().sum::<usize>(), sizes[0], sizes[sizes.len() - 1]), (1000, MAX_TOGETHER, 1));
        assert!(sizes.is_sorted_by(|one, next| one >= next), "{sizes:?}");
        // Those that are left are a part of all tasks that there are.
        let mut left = 1000;
        for size in sizes {
            assert!(size == 1 || size <= left / MESSAGES_A_WORKER);
            left -= size;
        }
    }

    #[test]
    fn long_unknown_and_large_tasks_and_those_of_jobs_go_alone() {
        let n_in_first = |ledger: &mut Ledger| ledger.next(usize::MAX, Instant::now()).unwrap().parcels.len();
        assert_eq!(n_in_first(&mut ledger(1000)), 1, "it is not known how long they take");
        let (mut ledger, queue) = short(1000);
        queue.learn(Duration::from_secs(1));
        assert_eq!(n_in_first(&mut ledger), 1, "the latest was long");
        let (mut ledger, queue) = short(0);
        let parcel = Bytes::from(vec![7; MAX_BYTES_TOGETHER / 2 - 8]);
        (0..1000).for_each(|task| ledger.enter(&queue, task, parcel.clone(), Box::new(drop)));
        assert_eq!(n_in_first(&mut ledger), 2, "two are as many bytes as may be");
        let (mut ledger, _) = short(1000);
        (0..1000).for_each(|task| ledger.keep(task, 7, false));
        assert_eq!(n_in_first(&mut ledger), 1, "a job's");
        let (mut ledger, queue) = short(1000);
        queue.show(500);
        assert_eq!(n_in_first(&mut ledger), 1, "there are many workers");
        let (mut ledger, _) = short(1000);
        assert!(ledger.leave(2).is_some());
        assert_eq!(n_in_first(&mut ledger), 2, "the numbers that follow");
    }

    #[test]
    fn batch_is_sent_again_as_it_was_whatever_has_left_it() {
        let (mut ledger, _) = short(1000);
        let now = Instant::now();
        let first = ledger.next(usize::MAX, now).unwrap();
        assert_eq!(tasks(&first), (0..MAX_TOGETHER as u64).collect::<Vec<_>>());
        assert!(ledger.leave(3).is_some());
        ledger.refused(first.span, now);
        let later = now + LONGEST_PAUSE;
        ledger.look_again(later);
        let mut again = None;
        while let Some(out) = ledger.next(usize::MAX, later) {
            if out.span == first.span {
                assert!(again.replace(out).is_none(), "each task is sent once");
            }
        }
        let again = again.unwrap();
        assert_eq!((again.attempt, tasks(&again).len()), (0, MAX_TOGETHER - 1));
        assert!(!tasks(&again).contains(&3));
        let n_sent = ledger.n_sent;
        ledger.stored(first.span);
        assert_eq!((n_sent - ledger.n_sent, ledger.all_stored().len()), (MAX_TOGETHER - 1, MAX_TOGETHER - 1));
    }

    #[test]
    fn batch_that_is_sent_again_is_without_what_was_taken_out_of_it() {
        let (mut ledger, _) = short(1000);
        let now = Instant::now();
        let batch = ledger.next(usize::MAX, now).unwrap();
        while ledger.next(usize::MAX, now).is_some() {}
        // The server has it, an agent has given a part of it back, and nothing of that was told but the latter.
        ledger.refused(batch.span, now);
        let later = now + LONGEST_PAUSE;
        ledger.look_again(later);
        ledger.give_alone(5, 1);
        let mut out: Vec<_> = std::iter::from_fn(|| ledger.next(usize::MAX, later)).collect();
        out.retain(|out| tasks(out).contains(&5) || out.span == batch.span);
        out.sort_unstable_by_key(|out| out.parcels.len());
        let [alone, again] = &out[..] else { panic!("{} messages", out.len()) };
        assert_eq!((tasks(alone), alone.attempt, alone.n_lost), (vec![5], 1, 1));
        assert_eq!((tasks(again).len(), again.attempt), (MAX_TOGETHER - 1, 0));
    }

    #[test]
    fn batch_is_no_longer_than_what_the_server_takes() {
        let (mut ledger, queue) = short(0);
        let parcel = Bytes::from(vec![7; 92]);
        (0..1000).for_each(|task| ledger.enter(&queue, task, parcel.clone(), Box::new(drop)));
        let n_tasks = |out: Option<Publication>| out.unwrap().parcels.len();
        assert_eq!(n_tasks(ledger.next(500, Instant::now())), 5);
        assert_eq!(n_tasks(ledger.next(99, Instant::now())), 1, "one goes in any case");
    }

    #[test]
    fn task_that_is_taken_out_of_a_batch_goes_alone_and_once() {
        let (mut ledger, _) = short(1000);
        let now = Instant::now();
        let batch = ledger.next(usize::MAX, now).unwrap();
        while ledger.next(usize::MAX, now).is_some() {}
        ledger.stored(batch.span);
        let stored = ledger.all_stored();
        ledger.give_alone(5, 2);
        ledger.give_alone(5, 3);
        let alone = ledger.next(usize::MAX, now).unwrap();
        assert_eq!((alone.attempt, alone.n_lost, only(Some(alone))), (1, 2, 5));
        assert!(ledger.next(usize::MAX, now).is_none());
        // What is said of the batch does not concern it any more.
        ledger.stored(batch.span);
        assert_eq!(ledger.all_stored().len(), stored.len() - 1);
        ledger.give_alone(5, 3);
        assert!(ledger.next(usize::MAX, now).is_none());
        ledger.give_alone(999, 1);
        ledger.give_alone(5000, 1);
        assert!(ledger.next(usize::MAX, now).is_none(), "one that goes alone, and one that is not there");
    }
}
