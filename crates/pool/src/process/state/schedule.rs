//! Which worker gets the next task, and when it is taken back for another.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use lane::N_SLOTS;

use super::{BATCH, Phase, State};
use crate::{
    PoolError, TaskError,
    process::{
        batch::Batch,
        errors::failure,
        seat::{Life, Parting, Place, Seat, Worker},
        work::{End, Work},
        worker::{FAILURE, TOO_LARGE},
    },
};

/// How much work a worker should have in hand.
const DEPTH_TIME: Duration = Duration::from_micros(3200);
/// What it takes to wake a worker.
const WAKE_TIME: Duration = Duration::from_micros(5);
/// How many idle workers are looked at, to find one that is awake.
const IDLE_LOOKS: usize = 8;

impl State {
    /// Takes results from the lanes, a batch at most, and gives the workers more to do.
    pub(in crate::process) fn step(&mut self, batch: &mut Batch) {
        let mut next = self.busy.next_from(0);
        while let Some(seat) = next {
            self.collect(seat, batch, BATCH);
            // Tasks have turned out to take long: what waits here may be begun sooner by another.
            if let Seat::Taken(worker) = &self.seats[seat]
                && worker.depth == 1
                && worker.lane.len() > 1
            {
                self.recall(seat, 1, usize::MAX);
            }
            if !matches!(&self.seats[seat], Seat::Taken(worker) if !worker.lane.is_empty()) {
                self.busy.remove(seat);
            }
            next = self.busy.next_from(seat + 1);
        }
        self.hand_out(batch);
    }

    pub(super) fn collect(&mut self, seat: usize, batch: &mut Batch, limit: usize) {
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
                self.has_parting = true;
                self.has_large = true;
            }
            let work = worker.held[finished.slot].take();
            if work.is_none() && (self.phase == Phase::Terminated || self.broken.is_some()) {
                // Not an initializer's, but that of a task that has been refused meanwhile.
                continue;
            }
            worker.row.ended(finished.slot, work.as_deref().map(|work| work.header()), None);
            let Some(work) = work else {
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
    pub(in crate::process) fn take_in(&mut self, work: Arc<dyn Work>, batch: &mut Batch) {
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
    pub(super) fn queue(&mut self, work: Arc<dyn Work>) {
        let turn = |work: &Arc<dyn Work>| work.header().turn.load(Relaxed);
        let at = match self.backlog.back() {
            Some(last) if turn(last) > turn(&work) => self.backlog.partition_point(|other| turn(other) < turn(&work)),
            _ => self.backlog.len(),
        };
        self.backlog.insert(at, work);
    }

    /// Takes tasks back that a worker has not begun with: up to `n_wanted`, but not the oldest `n_kept`.
    pub(in crate::process) fn recall(&mut self, seat: usize, n_kept: usize, n_wanted: usize) {
        let Seat::Taken(worker) = &mut self.seats[seat] else { return };
        let slots: Vec<usize> = worker.lane.slots().skip(n_kept).take(n_wanted).map(|(slot, _)| slot).collect();
        let recalled: Vec<_> = slots.into_iter().rev().filter_map(|slot| worker.recall(slot)).collect();
        recalled.into_iter().for_each(|work| self.queue(work));
    }

    /// Gives tasks of the backlog to workers that have room, and lets idle ones take from the others.
    pub(super) fn hand_out(&mut self, batch: &mut Batch) {
        self.replace_large();
        // Recalled tasks have waited behind a task that may take long: it counts for the time that it has taken so far.
        let now = (self.backlog.is_empty() && self.balance()).then(Instant::now);
        if !self.backlog.is_empty() {
            self.fill_up(now, batch);
        }
        if std::mem::take(&mut self.has_parting) {
            self.see_off();
        }
    }

    /// Gives tasks of the backlog to workers while one has room. Looks at all workers once, not once for each task.
    fn fill_up(&mut self, now: Option<Instant>, batch: &mut Batch) {
        let wait_at = |state: &Self, seat| state.wait_at(seat, now).map(|wait| Reverse((wait, seat)));
        let mut rooms: BinaryHeap<_> = (0..self.seats.len()).filter_map(|seat| wait_at(self, seat)).collect();
        // A room is found before a task is touched, which may be in no cache any more.
        while let Some(Reverse((_, seat))) = rooms.pop()
            && let Some(work) = self.backlog.pop_front()
        {
            if let Some(work) = self.give_to(seat, work, batch) {
                self.backlog.push_front(work);
                break;
            }
            rooms.extend(wait_at(self, seat));
        }
    }

    /// Tells those workers to leave that have had their last task, and have ended it.
    fn see_off(&mut self) {
        for seat in &mut self.seats {
            let Seat::Taken(worker) = seat else { continue };
            let is_parting = (worker.budget == 0 || worker.parting.is_some()) && !worker.is_leaving();
            if is_parting && worker.lane.is_empty() {
                worker.leave(false);
            } else if is_parting {
                self.has_parting = true;
            }
        }
    }

    /// Gives a task to the worker with the least to do; gives it back if no worker has room.
    pub(super) fn give(&mut self, work: Arc<dyn Work>, batch: &mut Batch) -> Option<Arc<dyn Work>> {
        match self.least_loaded() {
            Some(seat) => self.give_to(seat, work, batch),
            None => Some(work),
        }
    }

    pub(super) fn give_to(&mut self, seat: usize, work: Arc<dyn Work>, batch: &mut Batch) -> Option<Arc<dyn Work>> {
        if work.is_over() {
            return None;
        }
        let arm = self.asleep && self.n_helpers == 0;
        // Behind another task although a worker is idle: should that task take long, the service must see to this one.
        let is_stacked = matches!(&self.seats[seat], Seat::Taken(worker) if !worker.lane.is_empty());
        self.is_service_wanted |= self.asleep && is_stacked && self.workers().any(Worker::is_idle);
        let Seat::Taken(worker) = &mut self.seats[seat] else { return Some(work) };
        let is_first = worker.lane.is_empty();
        if is_first {
            worker.since = Instant::now();
        }
        if arm {
            // Before the worker can see the task: its result must not come before the bell is armed.
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
                self.has_parting |= worker.budget == 0;
                worker.lane.notify();
                if is_first {
                    self.busy.insert(seat);
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

    /// Where a task would begin soonest: of the busy workers, and of the first few that are idle, which are the ones that may
    /// be awake.
    fn least_loaded(&self) -> Option<usize> {
        let is_idle = |seat: &usize| matches!(&self.seats[*seat], Seat::Taken(worker) if worker.is_idle());
        let idle = (0..self.seats.len()).filter(|seat| !self.busy.contains(*seat) && is_idle(seat)).take(IDLE_LOOKS);
        let mut least: Option<(Duration, usize)> = None;
        for seat in idle.chain(self.busy.iter()) {
            let Some(wait) = self.wait_at(seat, None) else { continue };
            if wait.is_zero() {
                return Some(seat);
            }
            least = Some(least.map_or((wait, seat), |least| least.min((wait, seat))));
        }
        least.map(|(_, seat)| seat)
    }

    /// How long a task would wait there; `None` if there is no room. A sleeping worker counts for the time that waking it
    /// takes, so that a burst of tiny tasks does not wake all of them, one by one. With `now`, a busy worker is expected to
    /// stay busy for as long as it has been with its task.
    fn wait_at(&self, seat: usize, now: Option<Instant>) -> Option<Duration> {
        let Seat::Taken(worker) = &self.seats[seat] else { return None };
        let n_held = worker.lane.len();
        if n_held >= worker.depth || !worker.takes_tasks() {
            return None;
        }
        Some(match n_held {
            0 if worker.lane.is_asleep() => WAKE_TIME,
            0 => Duration::ZERO,
            n => now.map_or(Duration::ZERO, |now| now - worker.since).max(worker.pace * n as u32),
        })
    }

    /// Takes tasks back from the fullest lane while a worker is idle: no task waits behind a long one, and the idle worker
    /// gets the oldest. True if there were any.
    pub(super) fn balance(&mut self) -> bool {
        let n_waiting = |seat: &Seat| match seat {
            Seat::Taken(worker) if worker.lane.len() > 1 => worker.lane.len() - 1,
            _ => 0,
        };
        let fullest = self.busy.iter().max_by_key(|seat| n_waiting(&self.seats[*seat]));
        let Some(fullest) = fullest.filter(|seat| n_waiting(&self.seats[*seat]) > 0) else { return false };
        if !self.workers().any(Worker::is_idle) {
            return false;
        }
        self.recall(fullest, 1, n_waiting(&self.seats[fullest]).div_ceil(2));
        true
    }

    /// Whether a task stands behind another one while a worker is idle: all right for a moment.
    pub(super) fn is_unbalanced(&self) -> bool {
        self.busy_workers().any(|worker| worker.lane.len() > 1) && self.workers().any(Worker::is_idle)
    }
}
