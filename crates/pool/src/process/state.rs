//! Which worker holds what: the scheduling of a process pool, all of it under one lock.

use std::{
    collections::{BinaryHeap, VecDeque},
    os::unix::process::ExitStatusExt,
    sync::{Arc, atomic::Ordering::*},
    time::{Duration, Instant},
};

use lane::{N_SLOTS, OwnerLane, SlotState};
use proc_core::{CrashCause, Process, ProcessError, ProcessHandle};

use super::{
    batch::Batch,
    board::News,
    errors::failure,
    events::event,
    memory::{LOOK_EVERY, Watch},
    seat::{Life, Parting, Place, Seat, Worker},
    settings::Settings,
    work::{End, Work},
    worker::{FAILURE, TOO_LARGE},
};
use crate::{
    PoolError, Stats, TaskError,
    stats::{Death, WorkerStats},
    terms::Terms,
};

pub(super) struct State {
    pub(super) seats: Vec<Seat>,
    /// How many workers there are to be; the seats beyond are of those that are to leave.
    pub(super) n_wanted: usize,
    n_seated: u64,
    /// A worker has become too large.
    pub(super) has_large: bool,
    /// The pool's, for tasks that have none of their own.
    terms: Terms,
    /// Some task has a deadline, or a limit that the service has to keep an eye on.
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
    pub(super) is_service_wanted: bool,
    /// When it will wake up by itself.
    wakes_at: Option<Instant>,
    /// How many threads look for results themselves, so that the service need not be told.
    n_helpers: usize,
    /// How many threads wait for the pool's end.
    n_joining: usize,
    /// Starts in a row that came to nothing.
    n_failed_starts: u32,
    /// Whether a worker has ever got so far as to run its initializer to the end.
    has_had_workers: bool,
    retried: u64,
    pub(super) restarts: u64,
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

/// A task that waits for its next try.
struct Delayed {
    until: Instant,
    work: Arc<dyn Work>,
}

impl PartialEq for Delayed {
    fn eq(&self, other: &Self) -> bool {
        self.until == other.until
    }
}
impl Eq for Delayed {}
impl PartialOrd for Delayed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Delayed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.until.cmp(&self.until)
    }
}

/// Most results taken at a time, so that the lock is not held for long.
pub(super) const BATCH: usize = 64;
/// How much work a worker should have in hand.
const DEPTH_TIME: Duration = Duration::from_micros(3200);
/// What it takes to wake a worker.
const WAKE_TIME: Duration = Duration::from_micros(5);
/// A worker that has so many tasks in hand, each of so little time, need not be watched at every one.
const DOZE_TASKS: usize = 4;
const DOZE_PACE: Duration = Duration::from_micros(100);
const MIN_DOZE: Duration = Duration::from_micros(50);
const MAX_DOZE: Duration = Duration::from_micros(400);
/// Tasks of less than this are worth looking out for even if it takes a worker's CPU.
const TINY_PACE: Duration = Duration::from_micros(2);

impl State {
    pub(super) fn new(n_workers: usize, terms: Terms) -> Self {
        Self {
            is_timed: terms.timeout.is_some() || terms.memory_limit.is_some(),
            terms,
            seats: (0..n_workers).map(|_| Seat::Vacant(None)).collect(),
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

    /// Has the service told of results, until `next`; false if there is a result already.
    pub(super) fn put_service_to_sleep(&mut self, next: Option<Instant>) -> bool {
        if self.n_helpers == 0 && self.arm_all() {
            return false;
        }
        self.asleep = true;
        self.wakes_at = next;
        true
    }

    /// The service looks for results itself, now or in a moment.
    pub(super) fn wake_service(&mut self) {
        if self.asleep {
            self.asleep = false;
            self.disarm_all();
        }
        self.wakes_at = None;
    }

    /// Whether the service is to be woken, for it has to see to a worker; says so once.
    pub(super) fn is_service_wanted(&mut self) -> bool {
        std::mem::take(&mut self.is_service_wanted)
    }

    /// Has the service woken if it sleeps beyond the time at which it has to look at the task that a worker begins with.
    fn begins(&mut self, seat: usize) {
        if !self.is_timed || !self.asleep {
            return;
        }
        let Seat::Taken(worker) = &self.seats[seat] else { return };
        let look = worker.limit(&self.terms).map(|_| Instant::now() + LOOK_EVERY);
        let next = worker.due(&self.terms).into_iter().chain(look).min();
        self.is_service_wanted |= next.is_some_and(|next| self.wakes_at.is_none_or(|at| at > next));
    }

    /// A thread looks for results itself.
    pub(super) fn begin_help(&mut self) {
        self.n_helpers += 1;
        if self.asleep && self.n_helpers == 1 {
            self.disarm_all();
        }
    }

    /// It does no longer; true if there is a result of which the service is not told.
    pub(super) fn end_help(&mut self) -> bool {
        self.n_helpers -= 1;
        self.asleep && self.n_helpers == 0 && self.arm_all()
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

    /// What those are told who look from outside.
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
    pub(super) fn seat(&mut self, seat: usize, process: Process<()>, lane: OwnerLane, settings: &Settings) {
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
            pace: DEPTH_TIME,
            depth: 1,
            budget: settings.max_tasks_per_child.unwrap_or(usize::MAX),
            done: 0,
            watch,
        };
        event!(debug, pid = worker.process.pid(), "worker started");
        self.seats[seat] = Seat::Taken(Box::new(worker));
    }

    /// Takes results from the lanes, a batch at most, and gives the workers more to do.
    pub(super) fn step(&mut self, batch: &mut Batch) {
        for seat in 0..self.seats.len() {
            self.collect(seat, batch, BATCH);
            // Tasks have turned out to take long: what waits here may be begun sooner by another.
            if let Seat::Taken(worker) = &self.seats[seat]
                && worker.depth == 1
                && worker.lane.len() > 1
            {
                self.recall(seat, 1, usize::MAX);
            }
        }
        self.hand_out(batch);
    }

    fn collect(&mut self, seat: usize, batch: &mut Batch, limit: usize) {
        let Seat::Taken(worker) = &mut self.seats[seat] else { return };
        if worker.lane.has_finished() {
            batch.ended.reserve(worker.lane.len().min(limit));
        }
        let mut n_taken = 0;
        while batch.ended.len() < limit
            && let Some(finished) = worker.lane.poll(&mut batch.arena)
        {
            let tag = finished.tag & !TOO_LARGE;
            if finished.tag != tag && worker.parting.is_none() {
                worker.parting = Some(Parting::TooLarge);
                self.has_large = true;
            }
            let Some(work) = worker.held[finished.slot].take() else {
                if worker.is_starting() {
                    worker.life = Life::Working;
                }
                worker.since = Instant::now();
                self.n_failed_starts = 0;
                self.has_had_workers = true;
                if tag == FAILURE {
                    let why = finished.bytes.map(|range| failure(&batch.arena[range]).to_string());
                    self.broken = Some(PoolError::Initializer(why.unwrap_or_else(|e| e.to_string())));
                }
                continue;
            };
            work.header().place.store(0, Relaxed);
            worker.done += 1;
            n_taken += 1;
            let result = Ok((tag, finished.bytes));
            batch.ended.push((work, End { result, progress: finished.progress, fds: finished.fds }));
        }
        if n_taken > 0 {
            let now = Instant::now();
            let each = (now - worker.since) / n_taken;
            // A worker that has run dry was idle for some of that time.
            let was_idle = n_taken > 1 && worker.lane.is_empty();
            let each = if was_idle { each.min(worker.pace) } else { each };
            // A worker that waited for a CPU does not take so long every time.
            let each = each.min(worker.pace * 8);
            worker.pace = (worker.pace * 3 + each) / 4;
            let depth = DEPTH_TIME.as_nanos() / worker.pace.as_nanos().max(1);
            worker.depth = usize::try_from(depth).unwrap_or(N_SLOTS).clamp(1, N_SLOTS);
            worker.since = now;
            self.begins(seat);
        }
    }

    /// Takes a task: a new one at the end of the order, another where it was.
    pub(super) fn take_in(&mut self, work: Arc<dyn Work>, batch: &mut Batch) {
        let turn = &work.header().turn;
        if turn.load(Relaxed) == 0 {
            self.n_given += 1;
            turn.store(self.n_given, Relaxed);
            self.is_timed |= work.header().has_terms();
        }
        let turned_away = if self.backlog.is_empty() { self.give(work, batch) } else { Some(work) };
        turned_away.into_iter().for_each(|work| self.queue(work));
    }

    /// Puts a task where it belongs in the backlog.
    fn queue(&mut self, work: Arc<dyn Work>) {
        let turn = |work: &Arc<dyn Work>| work.header().turn.load(Relaxed);
        let at = match self.backlog.back() {
            Some(last) if turn(last) > turn(&work) => self.backlog.partition_point(|other| turn(other) < turn(&work)),
            _ => self.backlog.len(),
        };
        self.backlog.insert(at, work);
    }

    /// Takes back what a worker has not begun with: `n_wanted` after the oldest `n_kept` of all that it has.
    pub(super) fn recall(&mut self, seat: usize, n_kept: usize, n_wanted: usize) {
        let Seat::Taken(worker) = &mut self.seats[seat] else { return };
        let slots: Vec<usize> = worker.lane.slots().skip(n_kept).take(n_wanted).map(|(slot, _)| slot).collect();
        let recalled: Vec<_> = slots.into_iter().rev().filter_map(|slot| worker.recall(slot)).collect();
        recalled.into_iter().for_each(|work| self.queue(work));
    }

    /// Gives tasks of the backlog to workers that have room, and lets idle ones take from the others.
    fn hand_out(&mut self, batch: &mut Batch) {
        self.replace_large();
        // What is recalled has waited behind a task that may take long: that one counts for the time that it has taken.
        let now = (self.backlog.is_empty() && self.balance()).then(Instant::now);
        // Where there is room is known before a task is looked at, which may have been long ago.
        while !self.backlog.is_empty()
            && let Some(seat) = self.least_loaded(now)
            && let Some(work) = self.backlog.pop_front()
        {
            if let Some(work) = self.give_to(seat, work, batch) {
                self.backlog.push_front(work);
                break;
            }
        }
        for seat in &mut self.seats {
            if let Seat::Taken(worker) = seat
                && (worker.budget == 0 || worker.parting.is_some())
                && worker.lane.is_empty()
                && !worker.is_leaving()
            {
                worker.leave(false);
            }
        }
    }

    /// Gives a task to the worker with the least to do; gives it back if nobody has room.
    fn give(&mut self, work: Arc<dyn Work>, batch: &mut Batch) -> Option<Arc<dyn Work>> {
        match self.least_loaded(None) {
            Some(seat) => self.give_to(seat, work, batch),
            None => Some(work),
        }
    }

    fn give_to(&mut self, seat: usize, work: Arc<dyn Work>, batch: &mut Batch) -> Option<Arc<dyn Work>> {
        if work.is_over() {
            return None;
        }
        let arm = self.asleep && self.n_helpers == 0;
        // Behind another task although somebody is idle: should that one take long, the service must see to this one.
        let is_stacked = matches!(&self.seats[seat], Seat::Taken(worker) if !worker.lane.is_empty());
        self.is_service_wanted |= self.asleep && is_stacked && self.workers().any(Worker::is_idle);
        let Seat::Taken(worker) = &mut self.seats[seat] else { return Some(work) };
        let is_first = worker.lane.is_empty();
        if is_first {
            worker.since = Instant::now();
        }
        if arm {
            // Before the task can be seen, so that its result cannot come before the wish to be told of it.
            worker.lane.arm();
        }
        let given = work
            .header()
            .with_fds(|payload, fds| worker.lane.push_with(work.header().tag(), work.stream(), payload, fds));
        match given {
            Ok(Some(slot)) => {
                work.header().place.store(Place { seat, slot }.pack(), Relaxed);
                worker.held[slot] = Some(work);
                worker.budget = worker.budget.saturating_sub(1);
                worker.lane.notify();
                if is_first {
                    self.begins(seat);
                }
                None
            }
            Ok(None) => Some(work),
            Err(e) => {
                batch.refused.push((work, TaskError::Encode(format!("the arguments cannot be sent: {e}"))));
                None
            }
        }
    }

    /// Where a task would begin soonest. A sleeping worker counts for the time that waking it takes, so that a burst of
    /// tiny tasks does not wake everybody, one by one. With `now`, whoever is busy will be for as long as it has been with
    /// its task.
    fn least_loaded(&self, now: Option<Instant>) -> Option<usize> {
        let mut least: Option<(usize, Duration)> = None;
        for (index, seat) in self.seats.iter().enumerate() {
            let Seat::Taken(worker) = seat else { continue };
            let n_held = worker.lane.len();
            if !worker.takes_tasks() || n_held >= worker.depth {
                continue;
            }
            let wait = match n_held {
                0 if worker.lane.is_asleep() => WAKE_TIME,
                0 => Duration::ZERO,
                n => now.map_or(Duration::ZERO, |now| now - worker.since).max(worker.pace * n as u32),
            };
            if least.is_none_or(|(_, shortest)| wait < shortest) {
                least = Some((index, wait));
            }
        }
        least.map(|(seat, _)| seat)
    }

    /// Takes tasks back from the fullest lane while somebody is idle: nobody waits behind a long task, and who is idle
    /// gets the oldest. True if there were any.
    fn balance(&mut self) -> bool {
        if !self.workers().any(Worker::is_idle) {
            return false;
        }
        let n_waiting = |seat: &Seat| match seat {
            Seat::Taken(worker) if worker.lane.len() > 1 => worker.lane.len() - 1,
            _ => 0,
        };
        let fullest = (0..self.seats.len()).max_by_key(|seat| n_waiting(&self.seats[*seat]));
        let Some(fullest) = fullest.filter(|seat| n_waiting(&self.seats[*seat]) > 0) else { return false };
        self.recall(fullest, 1, n_waiting(&self.seats[fullest]).div_ceil(2));
        true
    }

    /// Whether a task stands behind another one while somebody is idle: all right for a moment.
    fn is_unbalanced(&self) -> bool {
        self.workers().any(Worker::is_idle) && self.workers().any(|worker| worker.lane.len() > 1)
    }

    /// Whether no task is anywhere here.
    pub(super) fn is_idle(&self) -> bool {
        self.backlog.is_empty()
            && self.delayed.is_empty()
            && self.workers().all(|worker| worker.held.iter().all(Option::is_none))
    }

    /// Has all workers leave, for good.
    pub(super) fn dismiss_all(&mut self) {
        self.dismissed = true;
        for seat in &mut self.seats {
            match seat {
                Seat::Taken(worker) if !worker.is_leaving() => worker.leave(false),
                Seat::Vacant(_) | Seat::Resting => *seat = Seat::Closed,
                _ => {}
            }
        }
    }

    /// Has a resting seat filled again; true if there is one.
    pub(super) fn wake_seat(&mut self) -> bool {
        let resting = self.seats.iter_mut().find(|seat| matches!(seat, Seat::Resting));
        resting.map(|seat| *seat = Seat::Vacant(None)).is_some()
    }

    /// Whether a task given now would have to wait.
    pub(super) fn all_busy(&self) -> bool {
        !self.workers().any(Worker::is_idle)
    }

    /// Ends everything: all tasks are refused, all workers killed.
    pub(super) fn fail_all(&mut self, why: &TaskError, batch: &mut Batch) {
        self.dismissed = true;
        let delayed = std::mem::take(&mut self.delayed).into_iter().map(|delayed| delayed.work);
        batch.refused.extend(self.backlog.drain(..).chain(delayed).map(|work| (work, why.clone())));
        for seat in &mut self.seats {
            match seat {
                Seat::Taken(worker) => {
                    let held = worker.held.iter_mut().filter_map(Option::take);
                    batch.refused.extend(held.map(|work| (work, why.clone())));
                    // For one that cannot be killed.
                    match worker.life {
                        Life::Killed { .. } => worker.lane.stop(),
                        _ => worker.leave(false),
                    }
                    worker.is_out_of_reach = worker.process.kill().is_err();
                }
                Seat::Vacant(_) | Seat::Resting => *seat = Seat::Closed,
                Seat::Closed => {}
            }
        }
    }

    /// Whether a worker has begun with the task in this place.
    pub(super) fn is_running(&self, packed_place: u32) -> bool {
        let Some(place) = Place::unpack(packed_place) else { return false };
        let Some(Seat::Taken(worker)) = self.seats.get(place.seat) else { return false };
        worker.lane.slots().any(|(slot, state)| slot == place.slot && state == SlotState::Taken)
    }

    /// Takes a task off whoever has it; kills the worker that is running it.
    pub(super) fn withdraw(&mut self, packed_place: u32) {
        let Some(place) = Place::unpack(packed_place) else { return };
        let Some(Seat::Taken(worker)) = self.seats.get_mut(place.seat) else { return };
        if worker.recall(place.slot).is_none() {
            self.kill_for_task(place.seat, place.slot, TaskError::Cancelled);
        }
    }

    /// Kills a worker for the task that it is running, and for no other: the rest is taken back before.
    fn kill_for_task(&mut self, seat: usize, slot: usize, why: TaskError) {
        let Seat::Taken(worker) = &mut self.seats[seat] else { return };
        if matches!(worker.life, Life::Killed { .. }) {
            return;
        }
        let others: Vec<usize> = worker.lane.slots().map(|(slot, _)| slot).filter(|other| *other != slot).collect();
        let recalled: Vec<_> = others.into_iter().rev().filter_map(|other| worker.recall(other)).collect();
        recalled.into_iter().for_each(|work| self.queue(work));
        let Seat::Taken(worker) = &mut self.seats[seat] else { return };
        // What runs now runs to its end or ours: there is nothing else in the lane.
        let running = worker.lane.slots().find(|(_, state)| matches!(state, SlotState::Taken | SlotState::Corrupt));
        if running.is_some_and(|(running, _)| running == slot) {
            event!(info, pid = worker.process.pid(), why = why.to_string(), "worker is killed for its task");
            // An initializer is no task: its worker has failed to start.
            if !worker.is_starting() {
                worker.life = Life::Killed { slot, why };
            }
            worker.is_out_of_reach = worker.process.kill().is_err();
        }
    }

    /// Deals with what is due, and tells when the next thing is. What was due already counts: whoever asks is about to sleep,
    /// and may have looked just before.
    pub(super) fn timers(&mut self, now: Instant, settings: &Settings) -> Option<Instant> {
        let mut next = self.delayed.peek().map(|delayed| delayed.until.max(now));
        while self.delayed.peek().is_some_and(|delayed| delayed.until <= now) {
            if let Some(delayed) = self.delayed.pop() {
                self.queue(delayed.work);
            }
        }
        let mut sooner = |at: Instant| next = Some(next.map_or(at, |next| next.min(at)));
        let (mut late, mut idle) = (Vec::new(), Vec::new());
        for (index, seat) in self.seats.iter_mut().enumerate() {
            match seat {
                Seat::Vacant(at) => sooner(at.unwrap_or(now)),
                Seat::Taken(worker) => {
                    if !worker.lane.is_empty() {
                        sooner(now + if worker.limit(&self.terms).is_some() { LOOK_EVERY } else { AUDIT });
                    }
                    if let Some(slot) = worker.too_large(now, &self.terms) {
                        late.push((index, slot, TaskError::MemoryLimit));
                    }
                    if let Some(corrupt) = worker.corrupt_slot() {
                        late.push((index, corrupt, TaskError::Decode("the worker's memory is corrupt".into())));
                    }
                    if let Some(end) = worker.idle_until(settings) {
                        if end > now { sooner(end) } else { idle.push(index) }
                    }
                    let Some(due) = worker.due(&self.terms) else { continue };
                    if due > now {
                        sooner(due);
                    } else if let Some((slot, _)) = worker.lane.slots().next() {
                        late.push((index, slot, TaskError::TimedOut));
                    }
                }
                _ => {}
            }
        }
        if self.is_unbalanced() {
            next = Some(next.map_or(now + MIN_DOZE, |next| next.min(now + MIN_DOZE)));
        }
        for (seat, slot, why) in late {
            self.kill_for_task(seat, slot, why);
        }
        for seat in idle {
            if let Seat::Taken(worker) = &mut self.seats[seat] {
                worker.leave(true);
            }
        }
        next
    }

    pub(super) fn delay(&mut self, work: Arc<dyn Work>, delay: Duration) {
        self.retried += 1;
        event!(info, task = work.header().id, "task is tried again");
        self.delayed.push(Delayed { until: Instant::now() + delay, work });
    }

    /// The workers that will not end though they should.
    pub(super) fn out_of_reach(&self) -> Vec<u64> {
        self.workers().filter(|worker| worker.is_out_of_reach).map(|worker| worker.id).collect()
    }

    /// Deals with a worker that has ended: takes what it published, and only then decides on the rest.
    pub(super) fn reap(&mut self, worker: u64, batch: &mut Batch) {
        let Some(seat) = self.seat_of(worker) else { return };
        self.collect(seat, batch, usize::MAX);
        let Seat::Taken(mut worker) = std::mem::replace(&mut self.seats[seat], Seat::Vacant(None)) else { return };
        // Its group first: what it started and left behind.
        let _ = worker.process.kill();
        let status = worker.process.try_wait().ok().flatten();
        let (signal, code) = status.map_or((None, None), |status| (status.signal(), status.code()));
        let pid = worker.process.pid();
        let crash = signal.and_then(|_| worker.process.crash_report());
        let ran_out = crash.as_ref().is_some_and(|crash| crash.cause() == CrashCause::AllocationFailed);
        let slots: Vec<_> = worker.lane.slots().collect();
        let mut victim = None;
        for (slot, state) in slots.into_iter().rev() {
            let Some(work) = worker.held[slot].take() else { continue };
            work.header().place.store(0, Relaxed);
            if state == SlotState::Ready {
                self.queue(work);
                continue;
            }
            victim = Some((work.header().id, work.header().name().map(String::from)));
            let why = match &worker.life {
                Life::Killed { slot: killed, why } if *killed == slot => why.clone(),
                // A worker aborts for many reasons; only one of them has to do with the limit.
                _ if work.header().memory_limit(&self.terms).is_some() && ran_out => TaskError::MemoryLimit,
                _ => TaskError::WorkerDied {
                    pid,
                    signal,
                    code,
                    crash: crash.clone(),
                    task: work.header().name().map(Into::into),
                },
            };
            let progress = worker.lane.progress(slot, &mut batch.arena);
            let fds = worker.lane.progress_fds(slot);
            batch.ended.push((work, End { result: Err(Box::new(why)), progress, fds }));
        }
        if worker.is_starting() {
            // Without a status it may run on, out of reach: that is not waited for.
            let ended = if status.is_some() { worker.process.join() } else { Ok(()) };
            let why = match ended {
                Err(refused @ ProcessError::Setup { .. }) => PoolError::Start(Arc::new(refused)),
                _ => {
                    let how = signal.map_or("exited".into(), |signal| format!("was killed by signal {signal}"));
                    PoolError::RestartStorm(format!("worker {pid} {how} before its first task"))
                }
            };
            self.start_failed(seat, &why);
            // What the kernel refuses the first worker, it refuses them all.
            if matches!(why, PoolError::Start(_)) && !self.has_had_workers {
                self.broken = Some(why);
            }
        }
        let left = matches!(worker.life, Life::Leaving { .. }) && victim.is_none();
        if left {
            event!(debug, pid = pid, "worker left");
        } else {
            let (task, name) = victim.unzip();
            event!(warn, pid = pid, signal = signal, task = task, "worker died");
            self.n_deaths += 1;
            self.deaths.push_back(Death { pid, signal, code, task, name: name.flatten(), crash });
            self.deaths.drain(..self.deaths.len().saturating_sub(MAX_DEATHS));
        }
        if self.dismissed || seat >= self.n_wanted {
            self.seats[seat] = Seat::Closed;
        } else if matches!(worker.life, Life::Leaving { is_idle: true })
            && self.backlog.is_empty()
            && self.workers().all(|other| other.lane.len() <= 1)
        {
            self.seats[seat] = Seat::Resting;
        } else {
            self.restarts += 1;
        }
    }

    /// Puts the next start off, further each time; too many in a row break the pool.
    pub(super) fn start_failed(&mut self, seat: usize, why: &PoolError) {
        if self.dismissed || !self.is_vacant(seat) {
            return;
        }
        self.n_failed_starts += 1;
        if why.is_for_good() || self.n_failed_starts as usize > MAX_FAILED_STARTS + 2 * self.n_wanted {
            self.broken = Some(why.clone());
        }
        let delay = Duration::from_millis(1 << (self.n_failed_starts / 2).min(8));
        self.seats[seat] = Seat::Vacant(Some(Instant::now() + delay));
    }

    /// Has every busy worker ring at its next result; true if there is one already.
    fn arm_all(&self) -> bool {
        let busy = self.workers().filter(|worker| !worker.lane.is_empty());
        busy.fold(false, |any, worker| worker.lane.arm() | any)
    }

    /// How long workers that are busy with short tasks may be left alone: it is better to look then than to be told of
    /// each task.
    pub(super) fn may_doze(&self) -> Option<Duration> {
        let busy = || self.workers().filter(|worker| !worker.lane.is_empty());
        let in_hand = busy().map(|worker| worker.pace * worker.lane.len() as u32).min()?;
        let is_worth_it = busy().any(|worker| worker.lane.len() >= DOZE_TASKS && worker.pace < DOZE_PACE);
        is_worth_it.then(|| (in_hand / 2).clamp(MIN_DOZE, MAX_DOZE))
    }

    /// Whether a thread that looked out for results now would take a CPU from a worker that needs it longer.
    pub(super) fn needs_all_cpus(&self, n_cpus: usize) -> bool {
        let busy = || self.workers().filter(|worker| !worker.lane.is_empty());
        busy().count() >= n_cpus && busy().all(|worker| worker.pace > TINY_PACE)
    }

    fn disarm_all(&self) {
        self.workers().filter(|worker| !worker.lane.is_empty()).for_each(|worker| worker.lane.disarm());
    }
}

const MAX_DEATHS: usize = 64;
/// How often busy lanes are looked at unasked: a worker that has scribbled over its lane asks for nothing.
const AUDIT: Duration = Duration::from_secs(1);
const MAX_FAILED_STARTS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::work::{Header, Verdict};

    #[test]
    fn a_seat_that_is_due_before_the_sleep_is_not_slept_over() {
        let settings = Settings::default();
        let mut state = State::new(1, Terms::default());
        let now = Instant::now();
        for due in [Some(now + Duration::from_secs(9)), Some(now), Some(now - Duration::from_nanos(1)), None] {
            state.seats[0] = Seat::Vacant(due);
            assert_eq!(state.timers(now, &settings), Some(due.unwrap_or(now)), "{due:?}");
        }
        state.seats[0] = Seat::Closed;
        assert_eq!(state.timers(now, &settings), None);
    }

    /// A task that nobody has, and that nobody looks into.
    struct Waiting;

    impl Work for Waiting {
        fn header(&self) -> &Header {
            unreachable!("it is given to nobody")
        }

        fn stream(&self) -> Option<u32> {
            None
        }

        fn is_over(&self) -> bool {
            false
        }

        fn ended(self: Arc<Self>, _: End, _: &[u8]) -> Verdict {
            Verdict::Over
        }

        fn refuse(self: Arc<Self>, _: TaskError) {}

        fn wake(&self) {}
    }

    #[test]
    fn a_task_to_be_tried_again_that_is_due_before_the_sleep_is_not_slept_over() {
        let settings = Settings::default();
        let now = Instant::now();
        let soon = now + Duration::from_secs(9);
        for (until, is_due) in [(now - Duration::from_nanos(1), true), (now, true), (soon, false)] {
            let mut state = State::new(1, Terms::default());
            state.seats[0] = Seat::Closed;
            state.delayed.push(Delayed { until, work: Arc::new(Waiting) });
            assert_eq!(state.timers(now, &settings), Some(until.max(now)));
            assert_eq!(state.delayed.is_empty(), is_due);
        }
    }
}
