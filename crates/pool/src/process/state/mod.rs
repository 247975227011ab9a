//! Which worker holds what: the scheduling of a process pool, all of it under one lock.
//!
//! The fields are seen by the files of this folder only: `schedule.rs` gives workers tasks and takes results, `sleep.rs` says
//! when the service looks again, `ends.rs` deals with workers and tasks that end abnormally, `size.rs` changes how many
//! workers there are.

mod delayed;
mod ends;
mod schedule;
mod seats;
mod size;
mod sleep;

use std::{
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use lane::{N_SLOTS, OwnerLane};
use proc_core::{Process, ProcessHandle};

use self::{delayed::Delayed, seats::Seats};
use super::{
    board::News,
    events::event,
    memory::Watch,
    seat::{Life, Seat, Worker},
    settings::Settings,
    stamps::Row,
    work::Work,
};
use crate::{
    PoolError, Stats, TaskError,
    stats::{Death, WorkerStats},
    terms::Terms,
};

pub(super) struct State {
    seats: Vec<Seat>,
    /// At least those whose workers have something in their lanes.
    busy: Seats,
    /// A worker has had its last task, and may not have been told to leave.
    has_parting: bool,
    /// How many workers there are to be; the seats beyond are of those that are to leave.
    n_wanted: usize,
    n_seated: u64,
    /// A worker has become too large.
    has_large: bool,
    /// The pool's, for tasks that have none of their own.
    terms: Terms,
    /// Some task has a deadline, or a limit that the service has to watch.
    is_timed: bool,
    /// Tasks that no worker has, in the order in which they were given.
    backlog: VecDeque<Arc<dyn Work>>,
    n_given: u64,
    /// Tasks that are to be tried again.
    delayed: BinaryHeap<Delayed>,
    phase: Phase,
    /// All workers have been told to leave, so that nothing can run any more.
    dismissed: bool,
    broken: Option<PoolError>,
    /// The service thread sleeps, and wants to be told of results.
    asleep: bool,
    /// It is to be woken all the same.
    is_service_wanted: bool,
    /// When it will wake up by itself.
    wakes_at: Option<Instant>,
    /// How many threads look for results themselves, so that the service need not be told.
    n_helpers: usize,
    /// How many threads wait for the pool's end.
    n_joining: usize,
    /// Failed starts in a row.
    n_failed_starts: u32,
    /// Whether a worker has ever run its initializer to the end.
    has_had_workers: bool,
    retried: u64,
    restarts: u64,
    deaths: VecDeque<Death>,
    /// How many there were, ever.
    n_deaths: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Phase {
    Open,
    /// What was given runs to its end.
    Closed,
    Terminated,
}

/// Most results taken at a time, so that the lock is not held for long.
pub(super) const BATCH: usize = 64;
/// How long a worker's tasks are assumed to take before it has ended one.
const FIRST_PACE: Duration = Duration::from_micros(3200);

impl State {
    pub(super) fn new(n_workers: usize, terms: Terms) -> Self {
        Self {
            is_timed: terms.timeout.is_some() || terms.memory_limit.is_some(),
            terms,
            seats: (0..n_workers).map(|_| Seat::Vacant(None)).collect(),
            busy: Seats::default(),
            has_parting: false,
            backlog: VecDeque::new(),
            n_wanted: n_workers,
            n_seated: 0,
            has_large: false,
            n_given: 0,
            delayed: BinaryHeap::new(),
            phase: Phase::Open,
            dismissed: false,
            broken: None,
            asleep: false,
            is_service_wanted: false,
            wakes_at: None,
            n_helpers: 0,
            n_joining: 0,
            n_failed_starts: 0,
            has_had_workers: false,
            retried: 0,
            restarts: 0,
            deaths: VecDeque::new(),
            n_deaths: 0,
        }
    }

    pub(super) fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.seats.iter().filter_map(|seat| if let Seat::Taken(worker) = seat { Some(&**worker) } else { None })
    }

    /// Those that have something in their lanes.
    fn busy_workers(&self) -> impl Iterator<Item = &Worker> {
        self.busy.iter().filter_map(|seat| match &self.seats[seat] {
            Seat::Taken(worker) if !worker.lane.is_empty() => Some(&**worker),
            _ => None,
        })
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// Enters a later phase.
    pub(super) fn enter(&mut self, phase: Phase) {
        self.phase = self.phase.max(phase);
    }

    pub(super) fn broken(&self) -> Option<&PoolError> {
        self.broken.as_ref()
    }

    pub(super) fn is_dismissed(&self) -> bool {
        self.dismissed
    }

    /// Why no task is taken any more.
    pub(super) fn why_refused(&self) -> Option<TaskError> {
        self.dismissed.then(|| match (&self.broken, self.phase) {
            (Some(why), _) => TaskError::Broken(why.clone()),
            (None, Phase::Terminated) => TaskError::Cancelled,
            _ => TaskError::Closed,
        })
    }

    /// Whether every worker has run its initializer.
    pub(super) fn has_started(&self) -> bool {
        self.seats.iter().all(|seat| match seat {
            Seat::Taken(worker) => !worker.is_starting(),
            seat => matches!(seat, Seat::Resting),
        })
    }

    /// Whether all workers are gone for good.
    pub(super) fn is_over(&self) -> bool {
        self.dismissed && self.seats.iter().all(|seat| matches!(seat, Seat::Closed))
    }

    /// The seats for which a worker is to be started.
    pub(super) fn vacant(&self, now: Instant) -> Vec<usize> {
        let is_due = |seat: &Seat| matches!(seat, Seat::Vacant(at) if at.is_none_or(|at| at <= now));
        (0..self.seats.len()).filter(|seat| is_due(&self.seats[*seat])).collect()
    }

    /// Whether a worker is to be started for that seat, still.
    pub(super) fn is_vacant(&self, seat: usize) -> bool {
        matches!(self.seats[seat], Seat::Vacant(_))
    }

    /// The workers, and their processes.
    pub(super) fn processes(&self) -> Vec<(u64, ProcessHandle)> {
        self.workers().map(|worker| (worker.id, (*worker.process).clone())).collect()
    }

    fn seat_of(&self, worker: u64) -> Option<usize> {
        self.seats.iter().position(|seat| matches!(seat, Seat::Taken(taken) if taken.id == worker))
    }

    pub(super) fn begin_join(&mut self) {
        self.n_joining += 1;
    }

    pub(super) fn end_join(&mut self) {
        self.n_joining -= 1;
    }

    /// Whether a thread waits for the pool's end.
    pub(super) fn is_joined(&self) -> bool {
        self.n_joining > 0
    }

    /// Tasks that no worker has.
    pub(super) fn n_waiting(&self) -> usize {
        self.backlog.len()
    }

    /// What is shown to the outside.
    pub(super) fn news(&self) -> News<'_> {
        let mut pids = self.workers().map(|worker| worker.process.pid());
        News {
            retried: self.retried,
            restarts: self.restarts,
            n_wanted: self.n_wanted,
            pids: std::array::from_fn(|_| pids.next().unwrap_or(0)),
            n_deaths: self.n_deaths,
            deaths: &self.deaths,
        }
    }

    /// What is known here of what the pool has done and is doing.
    pub(super) fn stats(&self) -> Stats {
        let of = |worker: &Worker| WorkerStats {
            pid: Some(worker.process.pid()),
            done: worker.done(),
            busy: worker.is_busy(),
            leaving: !worker.stays(),
            task: worker.running().and_then(|work| work.header().name().map(Into::into)),
        };
        let workers: Vec<_> = self.workers().map(of).collect();
        Stats {
            queued: self.backlog.len() + self.delayed.len() + self.workers().map(Worker::n_waiting).sum::<usize>(),
            running: workers.iter().filter(|worker| worker.busy).count(),
            retried: self.retried,
            restarts: self.restarts,
            n_workers: self.n_wanted,
            workers,
            deaths: self.deaths.iter().cloned().collect(),
            ..Stats::default()
        }
    }

    /// Puts a new worker to work; its initializer is the first thing in its lane. There may be nothing to do any more,
    /// or for fewer workers.
    pub(super) fn seat(&mut self, seat: usize, process: Process<()>, lane: OwnerLane, row: Row, settings: &Settings) {
        if !self.is_vacant(seat) {
            let _ = process.kill();
            return;
        }
        self.n_seated += 1;
        let watch = settings.terms.memory_limit.and_then(|_| Watch::new(process.pid()));
        let worker = Worker {
            id: self.n_seated,
            process,
            lane,
            held: (0..N_SLOTS).map(|_| None).collect(),
            life: Life::Starting,
            parting: None,
            is_out_of_reach: false,
            since: Instant::now(),
            pace: FIRST_PACE,
            depth: 1,
            budget: settings.max_tasks_per_child.unwrap_or(usize::MAX),
            done: 0,
            watch,
            row,
        };
        event!(debug, pid = worker.process.pid(), "worker started");
        self.seats[seat] = Seat::Taken(Box::new(worker));
        // Its initializer.
        self.busy.insert(seat);
    }

    /// Whether no task is anywhere here.
    pub(super) fn is_idle(&self) -> bool {
        self.backlog.is_empty()
            && self.delayed.is_empty()
            && self.workers().all(|worker| worker.held.iter().all(Option::is_none))
    }

    /// Asks for a worker on a resting seat; true if there is one.
    pub(super) fn wake_seat(&mut self) -> bool {
        let resting = self.seats.iter_mut().find(|seat| matches!(seat, Seat::Resting));
        resting.map(|seat| *seat = Seat::Vacant(None)).is_some()
    }

    /// Whether a task given now would have to wait.
    pub(super) fn all_busy(&self) -> bool {
        !self.workers().any(Worker::is_idle)
    }
}
