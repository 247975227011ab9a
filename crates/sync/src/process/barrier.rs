//! [`Barrier`]: go on together.
//!
//! # Safety
//! The state is made of atomics and locks. The locks stay where they are while they are held: only [`Barrier::new`] makes
//! a [`SeatLock`], in a handle that keeps it mapped while threads wait there, and pinned while a seat is held.
#![allow(unsafe_code)]

use std::{
    io,
    time::{Duration, Instant},
};

use kernel::{futex::Deadline, shm::ShmSafe};
#[cfg(feature = "serde")]
use serde::Deserialize;

use super::{handle::Handle, raw::RawLock};
use crate::{
    BrokenBarrier,
    machine::{self, Acquired, Broken, Seat},
    sys::{kernel::Kernel, robust},
    time::remaining,
};

pub(super) const MAX_PARTIES: usize = 256;

/// A point where so many threads of any processes wait for one another, again and again.
///
/// Clones and handed-over copies are the same barrier. It takes one descriptor and five pages; at most 256 parties.
///
/// # Crash safety
/// If a waiter is killed, the barrier is broken, since the number can no longer be reached: the others get
/// [`BrokenBarrier`], at once or 50 ms later, and so do all that come later, until [`reset`](Self::reset). A waiter that
/// is killed after all have come breaks nothing.
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
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(Deserialize), serde(transparent))]
pub struct Barrier(Handle<SharedBarrier>);

#[cfg(feature = "serde")]
kernel::serialize_as_inner!(Barrier);

#[repr(C)]
#[derive(Debug)]
pub(super) struct SharedBarrier(machine::BarrierState<SeatLock, MAX_PARTIES>);

/// A lock of a barrier.
#[derive(Debug)]
#[repr(transparent)]
pub(super) struct SeatLock(RawLock);

// SAFETY: `repr(C)`; atomics and locks.
unsafe impl ShmSafe for SharedBarrier {
    fn is_pinned(&self) -> bool {
        self.0.locks().any(|place| place.0.is_pinned())
    }

    fn note_other_namespaces(&self) {
        self.0.locks().for_each(|place| place.0.note_other_namespaces());
    }
}

impl Barrier {
    /// Makes a barrier for so many parties.
    ///
    /// # Errors
    /// `InvalidInput` for none and for more than 256; else as
    /// [`SharedMemory::new`](kernel::shm::SharedMemory::new).
    pub fn new(parties: u32) -> io::Result<Self> {
        if parties == 0 || parties as usize > MAX_PARTIES {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a barrier is for 1 to 256 parties"));
        }
        let seats = [const { SeatLock(RawLock::new()) }; MAX_PARTIES];
        Ok(Self(Handle::new(SharedBarrier(machine::BarrierState::new(parties, SeatLock(RawLock::new()), seats)))?))
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

    /// As [`wait_timeout`](Self::wait_timeout), until `deadline`.
    ///
    /// # Errors
    /// As there.
    pub fn wait_deadline(&self, deadline: Instant) -> Result<usize, BrokenBarrier> {
        self.wait_timeout(remaining(deadline))
    }

    /// As [`wait`](Self::wait); the last to come calls `action`, and all are let go when that has returned. If it
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

    /// Breaks the barrier: those that wait or come later get an error until [`reset`](Self::reset). Does not block.
    pub fn abort(&self) {
        let _announced = robust::announce(self.0.0.state());
        self.0.0.abort(&Kernel);
    }

    /// Puts the barrier back to its beginning; those that wait get an error. Does not block.
    pub fn reset(&self) {
        let _announced = robust::announce(self.0.0.state());
        self.0.0.reset(&Kernel);
    }

    /// For how many it is.
    pub fn parties(&self) -> usize {
        self.0.0.parties()
    }

    /// How many wait now for others to come.
    pub fn n_waiting(&self) -> usize {
        self.0.0.n_waiting()
    }

    /// Whether it is broken.
    #[doc(alias = "broken")]
    pub fn is_broken(&self) -> bool {
        self.0.0.is_broken()
    }

    fn wait_by(&self, deadline: Option<Deadline>, action: impl FnOnce()) -> Result<usize, BrokenBarrier> {
        let _announced = robust::announce(self.0.0.state());
        self.0.0.wait(&Kernel, deadline, action).map_err(|Broken| BrokenBarrier)
    }
}

impl Seat for SeatLock {
    fn try_acquire(&self) -> Option<Acquired> {
        // SAFETY: it stays where it is while it is held (see the module).
        unsafe { self.0.try_acquire() }
    }

    fn acquire(&self, deadline: Option<Deadline>) -> Option<Acquired> {
        // SAFETY: as above.
        let is_idle = unsafe { self.0.try_acquire_idle() }.is_some();
        // SAFETY: as above.
        if is_idle { Some(Acquired::Orderly) } else { unsafe { self.0.acquire(deadline) } }
    }

    fn release(&self) {
        self.0.release();
    }

    fn is_held(&self) -> bool {
        self.0.is_held()
    }

    fn is_dead(&self) -> bool {
        self.0.is_dead()
    }

    fn mark_consistent(&self) {
        self.0.lock().mark_consistent();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        sync::{atomic::Ordering::SeqCst, mpsc},
        thread,
    };

    use super::*;

    /// As it is when a process is stopped at the few instructions where it holds the gate.
    #[test]
    fn a_held_gate_keeps_no_timed_wait_and_no_reset() {
        let _dog = test_support::watchdog(Duration::from_secs(30));
        let barrier = Barrier::new(2).unwrap();
        let (told, holds) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        thread::scope(|scope| {
            let of_holder = barrier.clone();
            scope.spawn(move || {
                let gate = &of_holder.0.0.gate;
                assert!(gate.acquire(None).is_some());
                told.send(()).unwrap();
                ended.recv().unwrap();
                gate.release();
            });
            holds.recv().unwrap();
            assert!(barrier.wait_timeout(Duration::from_millis(5)).is_err());
            assert!(barrier.is_broken(), "the others are not told");
            barrier.reset();
            assert!(!barrier.is_broken());
            barrier.abort();
            assert!(barrier.is_broken());
            end.send(()).unwrap();
        });
        barrier.reset();
        let other = barrier.clone();
        let other = thread::spawn(move || other.wait().unwrap());
        assert_eq!(barrier.wait().unwrap() + other.join().unwrap(), 1);
    }

    /// A timed wait never came back, as no phase with other bits set could be left.
    #[test]
    fn bits_beside_the_phase_keep_nobody() {
        let _dog = test_support::watchdog(Duration::from_secs(30));
        let barrier = Barrier::new(2).unwrap();
        for bits in [1, 1 << 29, 1 << 32, u64::MAX ^ (3 << 30)] {
            barrier.0.0.phase.fetch_or(bits, SeqCst);
            assert!(barrier.wait_timeout(Duration::from_millis(5)).is_err());
            assert!(barrier.is_broken());
            barrier.0.0.phase.fetch_or(bits, SeqCst);
            barrier.reset();
            assert!(!barrier.is_broken());
        }
    }
}
