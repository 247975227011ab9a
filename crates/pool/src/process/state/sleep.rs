//! When the pool's thread, the *service*, looks for results itself, when it is told of them, and when it wakes up unasked.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{State, delayed::Delayed};
use crate::{
    TaskError,
    process::{events::event, memory::LOOK_EVERY, seat::Seat, settings::Settings, work::Work},
};

/// A worker that has so many tasks in hand, each of so little time, need not be watched at every one.
const DOZE_TASKS: usize = 4;
const DOZE_PACE: Duration = Duration::from_micros(100);
const MIN_DOZE: Duration = Duration::from_micros(50);
const MAX_DOZE: Duration = Duration::from_micros(400);
/// Tasks of less than this are worth looking out for even if it takes a worker's CPU.
const TINY_PACE: Duration = Duration::from_micros(2);
/// How often busy lanes are looked at unasked: a worker that has scribbled over its lane asks for nothing.
const AUDIT: Duration = Duration::from_secs(1);

impl State {
    /// The service sleeps until `next`, and workers ring for results; false if there is a result already.
    pub(in crate::process) fn put_service_to_sleep(&mut self, next: Option<Instant>) -> bool {
        if self.n_helpers == 0 && self.arm_all() {
            return false;
        }
        self.asleep = true;
        self.wakes_at = next;
        true
    }

    /// The service looks for results itself, now or in a moment.
    pub(in crate::process) fn wake_service(&mut self) {
        if self.asleep {
            self.asleep = false;
            self.disarm_all();
        }
        self.wakes_at = None;
    }

    /// Whether the service is to be woken, for it has to see to a worker; says so once.
    pub(in crate::process) fn is_service_wanted(&mut self) -> bool {
        std::mem::take(&mut self.is_service_wanted)
    }

    /// Asks for the service to be woken if it sleeps beyond the time at which it must look at the task that a worker begins
    /// with.
    pub(super) fn begins(&mut self, seat: usize) {
        if !self.is_timed || !self.asleep {
            return;
        }
        let Seat::Taken(worker) = &self.seats[seat] else { return };
        let look = worker.limit(&self.terms).map(|_| Instant::now() + LOOK_EVERY);
        let next = worker.due(&self.terms).into_iter().chain(look).min();
        self.is_service_wanted |= next.is_some_and(|next| self.wakes_at.is_none_or(|at| at > next));
    }

    /// A thread looks for results itself.
    pub(in crate::process) fn begin_help(&mut self) {
        self.n_helpers += 1;
        if self.asleep && self.n_helpers == 1 {
            self.disarm_all();
        }
    }

    /// It does no longer; true if there is a result of which the service is not told.
    pub(in crate::process) fn end_help(&mut self) -> bool {
        self.n_helpers -= 1;
        self.asleep && self.n_helpers == 0 && self.arm_all()
    }

    /// Deals with what is due, and returns when the next thing is due. What was due already counts: the caller is about to
    /// sleep, and may have looked just before.
    pub(in crate::process) fn timers(&mut self, now: Instant, settings: &Settings) -> Option<Instant> {
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

    pub(in crate::process) fn delay(&mut self, work: Arc<dyn Work>, delay: Duration) {
        self.retried += 1;
        event!(info, task = work.header().id, "task is tried again");
        self.delayed.push(Delayed { until: Instant::now() + delay, work });
    }

    /// Makes every busy worker ring at its next result; true if there is one already.
    pub(super) fn arm_all(&self) -> bool {
        self.busy_workers().fold(false, |any, worker| worker.lane.arm() | any)
    }

    pub(super) fn disarm_all(&self) {
        self.busy_workers().for_each(|worker| worker.lane.disarm());
    }

    /// How long workers that are busy with short tasks may be left alone: it is better to look then than to be told of
    /// each task.
    pub(in crate::process) fn may_doze(&self) -> Option<Duration> {
        let in_hand = self.busy_workers().map(|worker| worker.pace * worker.lane.len() as u32).min()?;
        let is_worth_it = self.busy_workers().any(|worker| worker.lane.len() >= DOZE_TASKS && worker.pace < DOZE_PACE);
        is_worth_it.then(|| (in_hand / 2).clamp(MIN_DOZE, MAX_DOZE))
    }

    /// Whether a thread that looked out for results now would take a CPU from a worker that needs it longer.
    pub(in crate::process) fn needs_all_cpus(&self, n_cpus: usize) -> bool {
        self.busy_workers().count() >= n_cpus && self.busy_workers().all(|worker| worker.pace > TINY_PACE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        process::work::{End, Header, Verdict},
        terms::Terms,
    };

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

    /// A task that no worker has, and whose header is never read.
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
