//! Where a coordinator's tasks of one kind go: those of this build, those of one function that is known by its name, or those
//! of a job.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use async_nats::Subject;

use crate::names::{JobName, Names, QueueName};

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) name: QueueName,
    /// Of the coordinator's tasks. Those of a job have their numbers behind it.
    subject: Subject,
    pub(crate) job: Option<OfJob>,
    /// How many tasks can run at a time, all agents together; at least 1.
    pub(crate) n_workers: Arc<AtomicUsize>,
    /// Nanoseconds that its tasks have taken of late; 0 if that is not known.
    pace: AtomicU64,
}

/// Tasks that go together take no longer than this, if they take as long as those before them. An agent takes more ahead.
const SHORT: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(crate) struct OfJob {
    pub(crate) name: JobName,
    /// What is added to the numbers of its tasks in this program's ledger.
    pub(crate) base: u64,
}

/// So many tasks a job can have.
pub(crate) const MAX_TASKS_OF_JOB: u64 = 1 << 32;

impl OfJob {
    /// A task's number in this program's ledger, unless there can be no such task: the network may say any number.
    pub(crate) fn own_number(&self, task: u64) -> Option<u64> {
        (task < MAX_TASKS_OF_JOB).then(|| self.base + task)
    }
}

impl Queue {
    pub(crate) fn new(name: QueueName, names: &Names, coordinator: &str) -> Self {
        let subject = names.tasks_of(&name, coordinator).into();
        Self { name, subject, job: None, n_workers: Arc::new(AtomicUsize::new(1)), pace: AtomicU64::new(0) }
    }

    /// That of a job, whose functions are those of the build that `own` is of.
    pub(crate) fn of_job(name: JobName, base: u64, own: &Self, names: &Names) -> Self {
        let queue = Self::new(own.name.clone(), names, name.as_str());
        Self { job: Some(OfJob { name, base }), n_workers: own.n_workers.clone(), ..queue }
    }

    /// The subject of a task by its number in the ledger.
    pub(crate) fn subject_of(&self, task: u64) -> Subject {
        match &self.job {
            None => self.subject.clone(),
            Some(job) => format!("{}.{}", self.subject, task.wrapping_sub(job.base)).into(),
        }
    }

    /// The owner that its tasks name, and a task's number there.
    pub(crate) fn key<'a>(&'a self, coordinator: &'a str, task: u64) -> (&'a str, u64) {
        match &self.job {
            None => (coordinator, task),
            Some(job) => (job.name.as_str(), task.wrapping_sub(job.base)),
        }
    }

    /// All its tasks.
    pub(crate) fn subjects(&self) -> String {
        if self.job.is_some() { format!("{}.*", self.subject) } else { self.subject.to_string() }
    }

    pub(super) fn n_workers(&self) -> usize {
        self.n_workers.load(Relaxed)
    }

    /// Takes note of how long a task's calls have taken. A long one counts twice as much as a short one.
    pub(super) fn learn(&self, busy: Duration) {
        let busy = u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX).max(1);
        let pace = match self.pace.load(Relaxed) {
            0 => busy,
            pace if busy > pace => pace + (busy - pace).div_ceil(4),
            pace => pace - (pace - busy) / 8,
        };
        self.pace.store(pace, Relaxed);
    }

    /// How many of its tasks are done in a short time.
    pub(super) fn n_short(&self) -> usize {
        match u128::from(self.pace.load(Relaxed)) {
            0 => 1,
            pace => usize::try_from(SHORT.as_nanos() / pace).unwrap_or(usize::MAX).max(1),
        }
    }

    pub(crate) fn show(&self, n_slots: usize) {
        self.n_workers.store(n_slots.max(1), Relaxed);
    }
}
