//! A task, as the scheduler sees it: what is given to a worker, and what comes of it.

use std::{
    io,
    ops::Range,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use kernel::handover::Packed;
use lane::Progress;
use parking_lot::Mutex;

use super::settings::Settings;
use crate::{TaskError, bound::Permit, label::Label, terms::Terms};

/// The tag of a task.
const TASK: u32 = 0;
/// The tag of a task with a limit on memory of its own, which lies before it: eight bytes. 1 is that of `worker::INITIALIZER`.
pub(super) const LIMITED_TASK: u32 = 2;

/// A task, whatever it is about.
pub(super) trait Work: Send + Sync {
    fn header(&self) -> &Header;

    /// For a task on many items: the item to begin with, and whether results are to be tagged.
    fn stream(&self) -> Option<u32>;

    /// Whether its result is known, so that it need not run.
    fn is_over(&self) -> bool;

    /// A worker ended it, or died while running it. `arena` is where the ranges of `end` lie.
    fn ended(self: Arc<Self>, end: End, arena: &[u8]) -> Verdict;

    /// It will not run.
    fn refuse(self: Arc<Self>, why: TaskError);

    /// Wakes the threads that sleep until its result is known.
    fn wake(&self);
}

/// What all tasks have.
pub(super) struct Header {
    pub(super) id: u64,
    /// The packed function and its packed arguments; before them the task's own limit on memory, if it has one.
    payload: Vec<u8>,
    /// The function that it calls.
    #[cfg_attr(not(feature = "trace"), expect(dead_code, reason = "traces alone ask for it; it takes no room"))]
    pub(super) label: Label,
    /// Most tasks have none of their own.
    terms: Option<Arc<Terms>>,
    /// Most tasks have none.
    kept: Option<Box<Mutex<HeldResources>>>,
    /// The worker and the slot of its lane that it is in, packed; changed under the pool's lock.
    pub(super) place: AtomicU32,
    /// Where it is in the order in which tasks were given; changed under the pool's lock, 0 before.
    pub(super) turn: AtomicU64,
    /// How often a worker died of it.
    deaths: AtomicU32,
}

/// What is kept until a task's end.
#[derive(Default)]
struct HeldResources {
    /// The descriptors among the arguments.
    fds: Vec<OwnedFd>,
    _permit: Option<Permit>,
}

impl Header {
    pub(super) fn new(
        id: u64,
        label: Label,
        Packed { bytes, fds }: Packed,
        permit: Option<Permit>,
        terms: Option<Arc<Terms>>,
    ) -> Self {
        let is_kept = !fds.is_empty() || permit.is_some();
        Self {
            id,
            label,
            payload: bytes,
            terms,
            kept: is_kept.then(|| Box::new(Mutex::new(HeldResources { fds, _permit: permit }))),
            place: AtomicU32::new(0),
            turn: AtomicU64::new(0),
            deaths: AtomicU32::new(0),
        }
    }

    /// Its own term, or else that of its pool.
    fn term<T>(&self, of_pool: &Terms, term: impl Fn(&Terms) -> Option<T>) -> Option<T> {
        self.terms.as_deref().and_then(&term).or_else(|| term(of_pool))
    }

    /// How long it may run.
    pub(super) fn timeout(&self, of_pool: &Terms) -> Option<Duration> {
        self.term(of_pool, |terms| terms.timeout)
    }

    /// How many bytes it may take.
    pub(super) fn memory_limit(&self, of_pool: &Terms) -> Option<u64> {
        self.term(of_pool, |terms| terms.memory_limit)
    }

    pub(super) fn has_terms(&self) -> bool {
        self.terms.is_some()
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.terms.as_ref()?.name.as_deref()
    }

    /// The tag by which a worker knows what it is.
    pub(super) fn tag(&self) -> u32 {
        if self.terms.as_ref().is_some_and(|terms| terms.memory_limit.is_some()) { LIMITED_TASK } else { TASK }
    }

    /// What a worker is to be given.
    pub(super) fn with_fds<R>(&self, give: impl FnOnce(&[u8], &[BorrowedFd<'_>]) -> R) -> R {
        let Some(kept) = &self.kept else { return give(&self.payload, &[]) };
        let kept = kept.lock();
        give(&self.payload, &kept.fds.iter().map(AsFd::as_fd).collect::<Vec<_>>())
    }

    /// Closes its descriptors and gives its permit back: no worker will be given it any more.
    pub(super) fn release(&self) {
        if let Some(kept) = &self.kept {
            drop(std::mem::take(&mut *kept.lock()));
        }
    }

    /// To be told when the task goes on with another call.
    pub(super) fn forget_deaths(&self) {
        self.deaths.store(0, Relaxed);
    }

    /// Counts a death. Returns how long to wait before the next try, or the error of a task that is not tried again.
    pub(super) fn died(&self, why: TaskError, settings: &Settings) -> Result<Duration, TaskError> {
        let retries = self.term(&settings.terms, |terms| terms.retries).unwrap_or(0);
        if retries == 0 || !matches!(why, TaskError::WorkerDied { .. }) {
            return Err(why);
        }
        let deaths = self.deaths.fetch_add(1, Relaxed);
        if deaths >= retries {
            return Err(TaskError::Quarantined);
        }
        Ok(settings.retry_delay.saturating_mul(1 << deaths.min(10)))
    }
}

/// How a worker ended a task. Ranges say where in an arena the bytes lie.
pub(super) struct End {
    /// The tag and the bytes of the result; if the worker died, why there is none.
    pub(super) result: Result<(u32, io::Result<Range<usize>>), Box<TaskError>>,
    /// What was published item by item.
    pub(super) progress: Option<Progress>,
    /// The descriptors that came along with either.
    pub(super) fds: io::Result<Vec<OwnedFd>>,
}

/// What is to be done with a task.
pub(super) enum Verdict {
    /// Nothing: its result is known.
    Over,
    /// Its result is known: the threads that sleep until then are to be woken.
    Wake(Arc<dyn Work>),
    /// It is to run (on) at once.
    Again(Arc<dyn Work>),
    /// It is to run again after a while.
    Retry(Arc<dyn Work>, Duration),
}
