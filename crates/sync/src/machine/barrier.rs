//! Which threads have come to a barrier, and whether they may go on.
//!
//! Each waiter holds a seat: a lock of its own, so that the kernel marks it when the waiter dies. As many threads wait as
//! seats are held; there is no count that a killed process could leave wrong. The gate is locked to take a seat, to give
//! one up, and for every change to Filling, and never while sleeping.
//!
//! A caller with a deadline waits for the gate no longer than that: the gate's holder may be stopped. Every change but
//! that to Broken is a compare-and-swap, with the gate or without, so that none undoes another. A seat that is given up
//! without the gate leaves the phase as it is: the next to come finds that all have left, as after a death. `abort` and
//! `reset` need no gate: a reset changes Filling and Broken to Resetting, even if no seat is held, and the next to come
//! makes that Filling.
//!
//! # State table of the phase
//! | bits 30–31 | name      | meaning                                                           |
//! |------------|-----------|-------------------------------------------------------------------|
//! | 0          | Filling   | a thread that comes waits until all have come                     |
//! | 1          | Draining  | all have come, and leave; a newcomer waits until they have left   |
//! | 2          | Resetting | the waiters leave with an error; a newcomer waits as above        |
//! | 3          | Broken    | all get an error                                                  |
//!
//! The other bits are 0, so the kernel takes the word for a lock without a holder, and wakes one sleeper when a thread
//! dies that has announced it (`sys::robust`). The woken thread looks at the seats.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use kernel::futex::Deadline;

use super::{Acquired, AtomicU64, Futex, Ordering::SeqCst};

/// How long a waiter sleeps before it looks at the seats without having been woken: a second waiter may die while another
/// is woken for the first, or a thread may die at the few instructions where it changes the gate. Never in a model: no
/// thread is to depend on it there.
const LOOK_AROUND: Duration = if cfg!(all(test, loom)) { Duration::MAX } else { Duration::from_millis(50) };

/// A lock that is marked if its holder dies.
pub(crate) trait Seat {
    fn try_acquire(&self) -> Option<Acquired>;
    /// None once the deadline has passed.
    fn acquire(&self, deadline: Option<Deadline>) -> Option<Acquired>;
    /// Gives it up, if the calling thread holds it.
    fn release(&self);
    fn is_held(&self) -> bool;
    /// Whether its last holder died, and it was neither acquired nor marked consistent since.
    fn is_dead(&self) -> bool;
    fn mark_consistent(&self);
}

/// A barrier for up to `N` parties.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct BarrierState<L, const N: usize> {
    pub(crate) gate: L,
    pub(crate) phase: AtomicU64,
    pub(crate) parties: AtomicU32,
    unused: AtomicU32,
    pub(crate) seats: [L; N],
}

/// The barrier is broken, or has been reset.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// Where a barrier is, of either scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Phase {
    Filling,
    Draining,
    Resetting,
    Broken,
}

impl Phase {
    /// Whatever is in the other bits, which a hostile process may have written.
    fn of(word: u64) -> Self {
        match (word as u32) >> 30 {
            0 => Self::Filling,
            1 => Self::Draining,
            2 => Self::Resetting,
            _ => Self::Broken,
        }
    }

    fn word(self) -> u32 {
        (self as u32) << 30
    }
}

struct Arrival {
    seat: usize,
    is_last: bool,
}

impl<L: Seat, const N: usize> BarrierState<L, N> {
    pub(crate) fn new(parties: u32, gate: L, seats: [L; N]) -> Self {
        Self { gate, phase: AtomicU64::new(0), parties: parties.into(), unused: 0.into(), seats }
    }

    /// The word that a thread must have announced while it is at an operation.
    pub(crate) fn state(&self) -> &AtomicU64 {
        &self.phase
    }

    /// All locks in it.
    pub(crate) fn locks(&self) -> impl Iterator<Item = &L> {
        std::iter::once(&self.gate).chain(&self.seats)
    }

    pub(crate) fn parties(&self) -> usize {
        // Bounded, since other processes can write to it.
        (self.parties.load(Relaxed) as usize).clamp(1, N)
    }

    pub(crate) fn n_waiting(&self) -> usize {
        if self.phase() == Phase::Filling { self.seats().filter(|seat| seat.is_held()).count() } else { 0 }
    }

    pub(crate) fn is_broken(&self) -> bool {
        let died = || self.phase() == Phase::Filling && self.seats().any(L::is_dead);
        self.phase() == Phase::Broken || died()
    }

    pub(crate) fn abort(&self, futex: &impl Futex) {
        self.phase.swap(Phase::Broken.word().into(), SeqCst);
        futex.wake(&self.phase, u32::MAX);
    }

    /// While all leave, it is as good as reset.
    pub(crate) fn reset(&self, futex: &impl Futex) {
        let _ = self.swap(Phase::Filling, Phase::Resetting, futex) || self.swap(Phase::Broken, Phase::Resetting, futex);
    }

    /// Waits until all have come; the last one then calls `action`. Returns the caller's seat.
    pub(crate) fn wait(
        &self,
        futex: &impl Futex,
        deadline: Option<Deadline>,
        action: impl FnOnce(),
    ) -> Result<usize, Broken> {
        let place = self.come(futex, deadline)?;
        let mut outcome = Ok(());
        if place.is_last {
            outcome = catch_unwind(AssertUnwindSafe(action));
            self.change_if_filling(if outcome.is_ok() { Phase::Draining } else { Phase::Broken }, futex);
        } else {
            self.wait_for_others(futex, deadline);
        }
        let phase = self.phase();
        self.leave(&place, futex, deadline);
        outcome.unwrap_or_else(|panic| resume_unwind(panic));
        if phase == Phase::Draining { Ok(place.seat) } else { Err(Broken) }
    }

    fn phase(&self) -> Phase {
        Phase::of(self.phase.load(SeqCst))
    }

    fn seats(&self) -> impl Iterator<Item = &L> {
        self.seats.iter().take(self.parties())
    }

    /// None once the deadline has passed.
    fn enter(&self, deadline: Option<Deadline>) -> Option<Inside<'_, L, N>> {
        if self.gate.acquire(deadline)? == Acquired::Inconsistent {
            // Every change is one step, so the holder that died left the state as it was before or after a change.
            self.gate.mark_consistent();
        }
        Some(Inside { barrier: self })
    }

    /// Takes a seat, once those of the round before have left.
    fn come(&self, futex: &impl Futex, deadline: Option<Deadline>) -> Result<Arrival, Broken> {
        loop {
            let Some(inside) = self.enter(deadline) else {
                self.change_if_filling(Phase::Broken, futex);
                return Err(Broken);
            };
            let phase = self.phase();
            match phase {
                Phase::Broken => return Err(Broken),
                Phase::Filling if self.seats().any(L::is_dead) => {
                    self.change_if_filling(Phase::Broken, futex);
                    return Err(Broken);
                }
                Phase::Filling => {
                    if let Some(seat) = self.seats().position(|seat| seat.try_acquire().is_some()) {
                        let is_last = self.seats().all(L::is_held);
                        return Ok(Arrival { seat, is_last });
                    }
                }
                Phase::Draining | Phase::Resetting => {
                    if !self.seats().any(L::is_held) {
                        // The last to leave was killed before it could do this, or the reset found no waiter.
                        inside.open(phase, futex);
                        continue;
                    }
                }
            }
            drop(inside);
            if !self.sleep(phase, futex, deadline) {
                self.change_if_filling(Phase::Broken, futex);
                return Err(Broken);
            }
        }
    }

    fn wait_for_others(&self, futex: &impl Futex, deadline: Option<Deadline>) {
        while self.phase() == Phase::Filling {
            let in_time = self.sleep(Phase::Filling, futex, deadline);
            if !in_time || self.seats().any(L::is_dead) {
                self.change_if_filling(Phase::Broken, futex);
            }
        }
    }

    fn change_if_filling(&self, phase: Phase, futex: &impl Futex) {
        self.swap(Phase::Filling, phase, futex);
    }

    /// False if the phase is not `from`; then nothing has been done.
    fn swap(&self, from: Phase, to: Phase, futex: &impl Futex) -> bool {
        let next = |word| (Phase::of(word) == from).then_some(to.word().into());
        let is_done = self.phase.fetch_update(SeqCst, SeqCst, next).is_ok();
        if is_done {
            futex.wake(&self.phase, u32::MAX);
        }
        is_done
    }

    /// Sleeps for a while, or until the phase changes or a holder of a seat dies; false once the deadline has passed.
    fn sleep(&self, phase: Phase, futex: &impl Futex, deadline: Option<Deadline>) -> bool {
        let mut round = 0;
        while futex.spin(round) {
            if self.phase() != phase {
                return true;
            }
            round += 1;
        }
        let soon = deadline.map_or(LOOK_AROUND, |deadline| deadline.remaining().min(LOOK_AROUND));
        futex.wait(&self.phase, phase.word(), Deadline::after(soon));
        self.phase() != phase || deadline.is_none_or(|deadline| !deadline.has_passed())
    }

    fn leave(&self, place: &Arrival, futex: &impl Futex, deadline: Option<Deadline>) {
        let Some(inside) = self.enter(deadline) else { return self.seats[place.seat].release() };
        self.seats[place.seat].release();
        let (phase, is_last) = (self.phase(), !self.seats().any(L::is_held));
        if is_last && matches!(phase, Phase::Draining | Phase::Resetting) {
            inside.open(phase, futex);
        }
    }
}

/// The gate is locked, until this is dropped.
struct Inside<'a, L: Seat, const N: usize> {
    barrier: &'a BarrierState<L, N>,
}

impl<L: Seat, const N: usize> Inside<'_, L, N> {
    /// Begins a round, now that all have left, unless the phase is no longer `from`.
    fn open(&self, from: Phase, futex: &impl Futex) {
        // Those who died in the round before are forgotten.
        self.barrier.seats().filter(|seat| seat.is_dead()).for_each(L::mark_consistent);
        self.barrier.swap(from, Phase::Filling, futex);
    }
}

impl<L: Seat, const N: usize> Drop for Inside<'_, L, N> {
    fn drop(&mut self) {
        self.barrier.gate.release();
    }
}
