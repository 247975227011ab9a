//! A place in the pool, and the worker that has it.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use lane::{N_SLOTS, OwnerLane, SlotState};
use proc_core::Process;

use super::{memory::Watch, settings::Settings, stamps::Row, work::Work};
use crate::{TaskError, terms::Terms};

/// A worker's place.
pub(super) enum Seat {
    /// No worker; the service starts one then or later.
    Vacant(Option<Instant>),
    Taken(Box<Worker>),
    /// No worker, until there is work: the former one left because there was none.
    Resting,
    /// No worker, and none is wanted there.
    Closed,
}

pub(super) struct Worker {
    /// A number that no other worker of the pool has, whichever seat it is on.
    pub(super) id: u64,
    pub(super) process: Process<()>,
    pub(super) lane: OwnerLane,
    /// What lies in each slot of the lane.
    pub(super) held: Vec<Option<Arc<dyn Work>>>,
    pub(super) life: Life,
    /// It is given nothing more, and is to be told to leave when it has nothing to do.
    pub(super) parting: Option<Parting>,
    /// It was to be killed, and the kernel refuses that: it has rights that its owner has given up since. It is treated as if
    /// it had ended.
    pub(super) is_out_of_reach: bool,
    /// Since when it has been running the task at the front of its lane, as far as the owner knows: never too early.
    pub(super) since: Instant,
    /// How long a task takes, on average.
    pub(super) pace: Duration,
    /// How many tasks it may have in hand.
    pub(super) depth: usize,
    /// Tasks that it may still be given.
    pub(super) budget: usize,
    pub(super) done: u64,
    /// Present once it has had a task with a limit on memory.
    pub(super) watch: Option<Watch>,
    pub(super) row: Row,
}

/// How far a worker has come.
pub(super) enum Life {
    /// It has not run its initializer to the end.
    Starting,
    Working,
    /// It was told to leave when it has nothing to do.
    Leaving {
        /// Because there was nothing to do for long.
        is_idle: bool,
    },
    /// It is being killed for the task in a slot.
    Killed {
        slot: usize,
        why: TaskError,
    },
}

/// Why a worker is to leave once it has ended what it is running.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Parting {
    /// The pool has become smaller.
    Surplus,
    /// It has more memory than it may keep.
    TooLarge,
}

/// Where a task is, packed into its header: a seat and a slot, or 0.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) seat: usize,
    pub(super) slot: usize,
}

impl Place {
    pub(super) fn pack(self) -> u32 {
        ((self.seat + 1) * N_SLOTS + self.slot) as u32
    }

    pub(super) fn unpack(packed: u32) -> Option<Self> {
        let packed = packed as usize;
        (packed >= N_SLOTS).then(|| Self { seat: packed / N_SLOTS - 1, slot: packed % N_SLOTS })
    }
}

impl Worker {
    /// Takes a task back that it has not begun with.
    pub(super) fn recall(&mut self, slot: usize) -> Option<Arc<dyn Work>> {
        if self.held[slot].is_none() || !self.lane.recall(slot) {
            return None;
        }
        let work = self.held[slot].take()?;
        work.header().place.store(0, Relaxed);
        self.budget = self.budget.saturating_add(1);
        Some(work)
    }

    /// Tells it to leave when it has nothing to do.
    pub(super) fn leave(&mut self, is_idle: bool) {
        self.life = Life::Leaving { is_idle };
        self.lane.stop();
    }

    /// Whether it leaves, or is made to.
    pub(super) fn is_leaving(&self) -> bool {
        matches!(self.life, Life::Leaving { .. } | Life::Killed { .. })
    }

    fn is_killed(&self) -> bool {
        matches!(self.life, Life::Killed { .. })
    }

    /// Whether it may be given something.
    pub(super) fn takes_tasks(&self) -> bool {
        !self.is_leaving() && self.budget > 0 && self.parting.is_none()
    }

    /// Whether it has nothing to do, and may be given something.
    pub(super) fn is_idle(&self) -> bool {
        self.lane.is_empty() && self.takes_tasks()
    }

    /// When the task that it is running is late.
    pub(super) fn due(&self, of_pool: &Terms) -> Option<Instant> {
        let timeout = self.front()?.1.header().timeout(of_pool)?;
        (!self.is_killed()).then(|| self.since.checked_add(timeout)).flatten()
    }

    /// How many bytes the task that it is running may take.
    pub(super) fn limit(&self, of_pool: &Terms) -> Option<u64> {
        self.front()?.1.header().memory_limit(of_pool)
    }

    /// The task that it is running and that has taken too much memory.
    pub(super) fn too_large(&mut self, now: Instant, of_pool: &Terms) -> Option<usize> {
        let limit = self.limit(of_pool)?;
        if self.is_killed() {
            return None;
        }
        if self.watch.is_none() {
            self.watch = Watch::new(self.process.pid());
        }
        let (front, task) = self.front().map(|(slot, work)| (slot, work.header().id))?;
        self.watch.as_mut()?.exceeds(task, limit, self.lane.note(), now).then_some(front)
    }

    /// The oldest task that it has, which it is running.
    pub(super) fn front(&self) -> Option<(usize, &Arc<dyn Work>)> {
        let (slot, _) = self.lane.slots().next()?;
        self.held[slot].as_ref().map(|work| (slot, work))
    }

    /// When it has had nothing to do for too long.
    pub(super) fn idle_until(&self, settings: &Settings) -> Option<Instant> {
        let is_idle = self.lane.is_empty() && matches!(self.life, Life::Working);
        is_idle.then(|| self.since.checked_add(settings.idle_timeout?)).flatten()
    }

    pub(super) fn corrupt_slot(&self) -> Option<usize> {
        let (slot, state) = self.lane.slots().next()?;
        (state == SlotState::Corrupt).then_some(slot)
    }

    pub(super) fn done(&self) -> u64 {
        self.done
    }

    /// Whether it goes on to the next task.
    pub(super) fn stays(&self) -> bool {
        !self.is_leaving() && self.parting.is_none()
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.is_starting() && self.lane.slots().any(|(_, state)| state == SlotState::Taken)
    }

    /// The task that it has begun with and not ended.
    pub(super) fn running(&self) -> Option<&Arc<dyn Work>> {
        let (slot, _) = self.lane.slots().find(|(_, state)| *state == SlotState::Taken)?;
        self.held[slot].as_ref()
    }

    /// Tasks that it holds, and of those the ones that it has not begun with.
    pub(super) fn n_waiting(&self) -> usize {
        self.lane.slots().filter(|(slot, state)| *state == SlotState::Ready && self.held[*slot].is_some()).count()
    }

    pub(super) fn is_starting(&self) -> bool {
        matches!(self.life, Life::Starting)
    }
}
