//! The state machines of a lane, on its shared words: a slot, the worker's sleep, and the owner's bell.
//!
//! A slot's word is a lap of the ring, and in its lowest two bits a phase:
//!
//! | phase | meaning | which side moves it on |
//! |---|---|---|
//! | `FREE` | no task | the owner: gives a task (`READY`), or passes over the slot (`FREE` of the next lap) |
//! | `READY` | a task that has not been begun | the worker: claims it (`TAKEN`); the owner: recalls it (`FREE` of the next lap). Both by compare-and-swap, so that one of them wins |
//! | `TAKEN` | the worker is running it, or was when it died | the worker: finishes it (`DONE`), or gives it back (`READY`) |
//! | `DONE` | its result is in the slot | the owner: releases it (`FREE` of the next lap) |
//!
//! | `asleep` | meaning | which side writes it |
//! |---|---|---|
//! | 0 | the worker looks at the ring by itself | the worker, when it has slept; the owner, when it wakes it |
//! | 1 | the worker sleeps, or looks once more and then does | the worker |
//!
//! | `stop` | meaning | which side writes it |
//! |---|---|---|
//! | 0 | the worker waits for tasks | |
//! | 1 | the worker is to leave when it finds none | the owner, once |
//!
//! | `bell` | meaning | which side writes it |
//! |---|---|---|
//! | 0 | the owner looks for results by itself | the owner; the worker that is about to ring |
//! | 1 | the owner wants to be told of the next result | the owner |
//!
//! Sleep and bell are the same protocol. One side publishes, runs a fence, and reads whether the other sleeps; the other
//! announces its sleep, runs a fence, and looks once more for what may have been published. Of two fences (`SeqCst`) one
//! comes first, so at least one side sees what the other stored. The accesses around them can be `Relaxed`.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use crate::platform::{AtomicU32, AtomicU64, fence, futex};

pub(super) mod phase {
    pub(crate) const FREE: u64 = 0;
    pub(crate) const READY: u64 = 1;
    pub(crate) const TAKEN: u64 = 2;
    pub(crate) const DONE: u64 = 3;
}

fn word(lap: u64, phase: u64) -> u64 {
    lap << 2 | phase
}

pub(super) fn split(word: u64) -> (u64, u64) {
    (word >> 2, word & 3)
}

/// What has become of a task that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// The worker has not begun with it.
    Ready,
    /// The worker is, or was when it died, running it.
    Taken,
    /// It has ended; [`OwnerLane::poll`](crate::OwnerLane::poll) has its result.
    Done,
    /// The lane's memory holds nonsense.
    Corrupt,
}

/// What the worker finds at its place in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A task, which it has claimed now.
    Claimed,
    /// The slot has been passed over in this lap.
    Passed,
    Nothing,
}

/// The word of a slot.
#[derive(Debug)]
#[repr(transparent)]
pub(super) struct SlotWord(pub(super) AtomicU64);

impl SlotWord {
    /// The lap, and whether there is a task; for a process that takes the lane over.
    pub(super) fn lap(&self) -> (u64, bool) {
        // Acquire: what belongs to the task is read next.
        let (lap, phase) = split(self.0.load(Acquire));
        (lap, phase != phase::FREE)
    }

    /// Gives what has been written to the slot. By the owner, of a free slot.
    #[inline]
    pub(super) fn give(&self, lap: u64) {
        // Release: the worker that claims it sees the task.
        self.0.store(word(lap, phase::READY), Release);
    }

    /// Claims the task of that lap. By the worker.
    #[inline]
    pub(super) fn claim(&self, lap: u64) -> Found {
        loop {
            let seen = self.0.load(Relaxed);
            let (seen_lap, seen_phase) = split(seen);
            if seen_lap > lap {
                return Found::Passed;
            }
            if seen_lap != lap || seen_phase != phase::READY {
                return Found::Nothing;
            }
            // Acquire: sees the task. It fails if the owner recalls the task at this moment.
            if self.0.compare_exchange(seen, word(lap, phase::TAKEN), Acquire, Relaxed).is_ok() {
                return Found::Claimed;
            }
        }
    }

    /// Whether [`claim`](Self::claim) would find something. By the worker.
    #[inline]
    pub(super) fn has_something(&self, lap: u64) -> bool {
        // Relaxed: the claim looks again.
        let (seen_lap, seen_phase) = split(self.0.load(Relaxed));
        seen_lap > lap || seen_lap == lap && seen_phase == phase::READY
    }

    /// Takes a task back that has not been begun; false if it has. By the owner.
    pub(super) fn recall(&self, lap: u64) -> bool {
        // Relaxed: nothing that the worker wrote is read, and what the owner writes next it publishes by the next task.
        self.0.compare_exchange(word(lap, phase::READY), word(lap + 1, phase::FREE), Relaxed, Relaxed).is_ok()
    }

    /// Puts a task back that was claimed, as one that has not been begun. By the worker.
    pub(super) fn give_back(&self, lap: u64) {
        // Release: the owner, or a process that takes the lane over, sees all that the worker did to the slot.
        self.0.store(word(lap, phase::READY), Release);
    }

    /// Publishes the result that has been written to the slot. By the worker, of the task that it has claimed.
    #[inline]
    pub(super) fn finish(&self, lap: u64) {
        // Release: the owner that sees it sees the result.
        self.0.store(word(lap, phase::DONE), Release);
    }

    /// Frees the slot of a result that has been read, or passes over a free one. By the owner.
    #[inline]
    pub(super) fn release(&self, lap: u64) {
        // Relaxed: the worker does nothing with the slot before it sees the next task in it.
        self.0.store(word(lap + 1, phase::FREE), Relaxed);
    }

    /// What has become of the task of that lap. By the owner.
    #[inline]
    pub(super) fn state(&self, lap: u64) -> SlotState {
        // Acquire: what the worker left in the slot is read next.
        let (seen_lap, phase) = split(self.0.load(Acquire));
        match phase {
            _ if seen_lap != lap => SlotState::Corrupt,
            phase::READY => SlotState::Ready,
            phase::TAKEN => SlotState::Taken,
            phase::DONE => SlotState::Done,
            _ => SlotState::Corrupt,
        }
    }
}

/// The worker's sleep.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Sleep {
    pub(super) asleep: AtomicU32,
    pub(super) stop: AtomicU32,
}

impl Sleep {
    /// Whether the worker is to leave. If it sees the order to stop, it sees all tasks that were given before.
    #[inline]
    pub(super) fn is_to_stop(&self) -> bool {
        // Acquire: for that.
        self.stop.load(Acquire) != 0
    }

    /// Orders the worker to leave. By the owner.
    pub(super) fn stop(&self) {
        // Release: see `is_to_stop`.
        self.stop.store(1, Release);
        self.wake();
    }

    /// Wakes the worker if it sleeps, after something was published for it. By the owner.
    #[inline]
    pub(super) fn wake(&self) {
        // Pairs with that of `sleep`: the worker sees what was published, or this sees it asleep.
        fence(SeqCst);
        // The swap leaves one wake-up for several callers.
        if self.asleep.load(Relaxed) != 0 && self.asleep.swap(0, Relaxed) != 0 {
            futex::wake(&self.asleep, 1);
        }
    }

    #[inline]
    pub(super) fn is_asleep(&self) -> bool {
        // Relaxed: a hint.
        self.asleep.load(Relaxed) != 0
    }

    /// Sleeps until it is woken, unless something is there or it is to stop. May wake up for nothing. By the worker.
    pub(super) fn sleep(&self, is_something_there: impl FnOnce() -> bool) {
        self.asleep.store(1, Relaxed);
        // Pairs with that of `wake`.
        fence(SeqCst);
        if !is_something_there() && self.stop.load(Relaxed) == 0 {
            futex::wait(&self.asleep, 1, None);
        }
        self.asleep.store(0, Relaxed);
    }
}

/// The owner's wish to be told of results.
#[derive(Debug)]
#[repr(transparent)]
pub(super) struct Bell(pub(super) AtomicU32);

impl Bell {
    /// Makes the worker ring it at the next result; the owner has to look once more for one that is there already.
    pub(super) fn arm(&self) {
        self.0.store(1, Relaxed);
        // Pairs with that of `is_to_ring`: the worker sees the wish, or the look that follows sees its result.
        fence(SeqCst);
    }

    pub(super) fn disarm(&self) {
        self.0.store(0, Relaxed);
    }

    /// Whether the worker, which has just published a result, is to ring. Once for each wish.
    #[inline]
    pub(super) fn is_to_ring(&self) -> bool {
        // Pairs with that of `arm`.
        fence(SeqCst);
        self.0.load(Relaxed) != 0 && self.0.swap(0, Relaxed) != 0
    }
}
