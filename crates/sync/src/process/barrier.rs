//! [`Barrier`]: go on together.
//!
//! Everybody who waits holds a seat: a lock of its own, so that the kernel marks it when its holder dies. How many
//! wait is how many seats are held; there is no count that a killed process could leave wrong. The gate is locked for
//! every change, and never while sleeping.
//!
//! # State table of the phase
//! | bits 30–31 | name      | meaning                                                     |
//! |------------|-----------|-------------------------------------------------------------|
//! | 0          | Filling   | whoever comes waits until all have come                     |
//! | 1          | Draining  | all have come, and leave; who comes now waits until they left |
//! | 2          | Resetting | those who waited leave with an error; as above              |
//! | 3          | Broken    | everybody gets an error                                     |
//!
//! # Safety
//! The state is made of atomics and locks.
#![allow(unsafe_code)]

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
    time::Duration,
};

use proc_core::{futex::Deadline, shm::ShmSafe};
use serde::{Deserialize, Serialize};

use super::{handle::Handle, raw::RawLock};
use crate::{
    BrokenBarrier,
    machine::{Acquired, Futex},
    sys::{kernel::Kernel, robust},
};

const MAX_PARTIES: usize = 256;

/// How long a waiter sleeps before it looks around by itself. Who dies while it waits has the others woken by the
/// kernel, except at the few instructions where it changes the gate.
const LOOK_AROUND: Duration = Duration::from_millis(50);

/// A point where so many threads of any processes wait for one another, again and again.
///
/// Clones and handed-over copies are the same barrier. It takes one descriptor and five pages; at most 256 parties.
///
/// # Crash safety
/// If somebody is killed while it waits, the barrier is broken, since the number can no longer be reached: the others
/// get [`BrokenBarrier`], at once or 50 ms later, and so does everybody after them until [`reset`](Self::reset). Who is
/// killed after all had come is not missed.
///
/// # Examples
/// ```
/// let start = sync::process::Barrier::new(2)?;
/// let other = start.clone();
/// let thread = std::thread::spawn(move || other.wait().unwrap());
/// let mine = start.wait()?;
/// assert_eq!(mine + thread.join().unwrap(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Barrier(Handle<Shared>);

#[repr(C)]
#[derive(Debug)]
struct Shared {
    gate: RawLock,
    phase: AtomicU64,
    parties: AtomicU32,
    unused: AtomicU32,
    seats: [RawLock; MAX_PARTIES],
}

// SAFETY: `repr(C)`; atomics and locks.
unsafe impl ShmSafe for Shared {
    fn is_pinned(&self) -> bool {
        self.gate.is_pinned() || self.seats.iter().any(RawLock::is_pinned)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Phase {
    Filling,
    Draining,
    Resetting,
    Broken,
}

impl Phase {
    fn word(self) -> u32 {
        (self as u32) << 30
    }
}

impl Barrier {
    /// Makes a barrier for so many parties.
    ///
    /// # Errors
    /// `InvalidInput` for none and for more than 256; else as
    /// [`SharedMemory::new`](proc_core::shm::SharedMemory::new).
    pub fn new(parties: u32) -> io::Result<Self> {
        if parties == 0 || parties as usize > MAX_PARTIES {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a barrier is for 1 to 256 parties"));
        }
        Ok(Self(Handle::new(Shared {
            gate: RawLock::new(),
            phase: 0.into(),
            parties: parties.into(),
            unused: 0.into(),
            seats: [const { RawLock::new() }; MAX_PARTIES],
        })?))
    }

    /// Sleeps until all parties have come. Each gets another number from 0 up, for whatever one alone should do.
    ///
    /// # Errors
    /// [`BrokenBarrier`] if it is broken, or is broken or reset meanwhile.
    pub fn wait(&self) -> Result<usize, BrokenBarrier> {
        self.wait_by(None, || ())
    }

    /// As [`wait`](Self::wait), but breaks the barrier for all if `timeout` passes first, on the monotonic clock.
    ///
    /// # Errors
    /// [`BrokenBarrier`], as [`wait`](Self::wait), and then too.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize, BrokenBarrier> {
        self.wait_by(Deadline::after(timeout), || ())
    }

    /// As [`wait`](Self::wait); whoever comes last calls `action`, and all are let go when that has returned. If it
    /// panics, the barrier is broken, and the panic goes on.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    #[doc(alias = "action")]
    pub fn wait_with(&self, action: impl FnOnce()) -> Result<usize, BrokenBarrier> {
        self.wait_by(None, action)
    }

    /// As [`wait_with`](Self::wait_with) and [`wait_timeout`](Self::wait_timeout) in one. The time for `action` does not
    /// count.
    ///
    /// # Errors
    /// As there.
    pub fn wait_timeout_with(&self, timeout: Duration, action: impl FnOnce()) -> Result<usize, BrokenBarrier> {
        self.wait_by(Deadline::after(timeout), action)
    }

    /// Breaks the barrier: who waits, and who comes later, gets an error until [`reset`](Self::reset). Never blocks for
    /// long.
    pub fn abort(&self) {
        let _announced = robust::announce(&self.0.phase);
        self.0.enter().change(Phase::Broken);
    }

    /// Puts the barrier back to its beginning; who waits gets an error.
    pub fn reset(&self) {
        let _announced = robust::announce(&self.0.phase);
        let inside = self.0.enter();
        if matches!(self.0.phase(), Phase::Filling | Phase::Broken) {
            let somebody_waits = self.0.seats().any(RawLock::is_held);
            inside.change(if somebody_waits { Phase::Resetting } else { Phase::Filling });
        }
    }

    /// For how many it is.
    pub fn parties(&self) -> usize {
        self.0.parties()
    }

    /// How many wait now for others to come.
    pub fn n_waiting(&self) -> usize {
        if self.0.phase() == Phase::Filling { self.0.seats().filter(|seat| seat.is_held()).count() } else { 0 }
    }

    /// Whether it is broken.
    #[doc(alias = "broken")]
    pub fn is_broken(&self) -> bool {
        let died = || self.0.phase() == Phase::Filling && self.0.seats().any(RawLock::is_dead);
        self.0.phase() == Phase::Broken || died()
    }

    fn wait_by(&self, deadline: Option<Deadline>, action: impl FnOnce()) -> Result<usize, BrokenBarrier> {
        let shared = &*self.0;
        let _announced = robust::announce(&shared.phase);
        let seat = shared.come(deadline)?;
        // Declared after `seat` was taken: gives it up also when the action panics.
        let leaving = Leaving { shared, seat };
        if seat.is_last {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(action)) {
                shared.break_if_filling();
                drop(leaving);
                resume_unwind(panic);
            }
            let inside = shared.enter();
            if shared.phase() == Phase::Filling {
                inside.change(Phase::Draining);
            }
        } else {
            shared.wait_for_others(deadline);
        }
        let outcome = shared.phase();
        drop(leaving);
        if outcome == Phase::Draining { Ok(seat.index) } else { Err(BrokenBarrier) }
    }
}

#[derive(Clone, Copy)]
struct Seat {
    index: usize,
    is_last: bool,
}

impl Shared {
    fn phase(&self) -> Phase {
        match (self.phase.load(SeqCst) as u32) >> 30 {
            0 => Phase::Filling,
            1 => Phase::Draining,
            2 => Phase::Resetting,
            _ => Phase::Broken,
        }
    }

    fn parties(&self) -> usize {
        // Bounded, since other processes can write to it.
        (self.parties.load(Relaxed) as usize).clamp(1, MAX_PARTIES)
    }

    fn seats(&self) -> impl Iterator<Item = &RawLock> {
        self.seats.iter().take(self.parties())
    }

    fn enter(&self) -> Inside<'_> {
        if self.gate.acquire_surely() == Acquired::Inconsistent {
            // Every change is one store, so whoever died inside left a state that somebody wanted.
            self.gate.lock().mark_consistent();
        }
        Inside { shared: self }
    }

    /// Takes a seat, once those of the round before have left.
    fn come(&self, deadline: Option<Deadline>) -> Result<Seat, BrokenBarrier> {
        loop {
            let inside = self.enter();
            let phase = self.phase();
            match phase {
                Phase::Broken => return Err(BrokenBarrier),
                Phase::Filling if self.seats().any(RawLock::is_dead) => {
                    inside.change(Phase::Broken);
                    return Err(BrokenBarrier);
                }
                Phase::Filling => {
                    if let Some(index) = self.seats().position(|seat| seat.try_acquire().is_some()) {
                        let is_last = self.seats().all(RawLock::is_held);
                        return Ok(Seat { index, is_last });
                    }
                }
                Phase::Draining | Phase::Resetting => {
                    if !self.seats().any(RawLock::is_held) {
                        // The last to leave was killed before it could do this.
                        inside.change(Phase::Filling);
                        continue;
                    }
                }
            }
            drop(inside);
            if !self.sleep(phase, deadline) {
                self.break_if_filling();
                return Err(BrokenBarrier);
            }
        }
    }

    fn wait_for_others(&self, deadline: Option<Deadline>) {
        while self.phase() == Phase::Filling {
            let in_time = self.sleep(Phase::Filling, deadline);
            if !in_time || self.seats().any(RawLock::is_dead) {
                self.break_if_filling();
            }
        }
    }

    fn break_if_filling(&self) {
        let inside = self.enter();
        if self.phase() == Phase::Filling {
            inside.change(Phase::Broken);
        }
    }

    /// Sleeps for a while, or until the phase changes or somebody dies; false once the deadline has passed.
    fn sleep(&self, phase: Phase, deadline: Option<Deadline>) -> bool {
        let mut round = 0;
        while Kernel.spin(round) {
            if self.phase() != phase {
                return true;
            }
            round += 1;
        }
        let soon = deadline.map_or(LOOK_AROUND, |deadline| deadline.remaining().min(LOOK_AROUND));
        Kernel.wait(&self.phase, phase.word(), Deadline::after(soon));
        self.phase() != phase || deadline.is_none_or(|deadline| !deadline.has_passed())
    }
}

/// The gate is locked, until this is dropped.
struct Inside<'a> {
    shared: &'a Shared,
}

impl Inside<'_> {
    fn change(&self, phase: Phase) {
        if phase == Phase::Filling {
            // Those who died in the round before are forgotten.
            self.shared.seats().filter(|seat| seat.is_dead()).for_each(|seat| seat.lock().mark_consistent());
        }
        self.shared.phase.store(phase.word().into(), SeqCst);
        Kernel.wake(&self.shared.phase, u32::MAX);
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.shared.gate.release();
    }
}

struct Leaving<'a> {
    shared: &'a Shared,
    seat: Seat,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let inside = self.shared.enter();
        self.shared.seats[self.seat.index].release();
        let is_last = !self.shared.seats().any(RawLock::is_held);
        if is_last && matches!(self.shared.phase(), Phase::Draining | Phase::Resetting) {
            inside.change(Phase::Filling);
        }
    }
}
