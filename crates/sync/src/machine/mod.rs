//! The state machines: what the words of a lock, a semaphore, … mean and how they change.
//!
//! Each machine is one or two 64-bit words. Its low half is the futex word that the kernel compares before it puts
//! a thread to sleep; the high half is ours alone. How to sleep and wake is a parameter ([`Futex`]), so that loom runs
//! the very code that ships: `crates/models` compiles this module once more, with the models beside it.

mod barrier;
mod condvar;
mod event;
mod lock;
mod semaphore;

#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, loom))]
mod tests;

#[cfg(feature = "inspect")]
pub(crate) mod inspect {
    pub(crate) use super::{event::decode as event, lock::LockWord, semaphore::decode as semaphore};
}
pub(crate) use barrier::{BarrierState, Broken, Phase, Seat};
pub(crate) use condvar::CondvarState;
pub(crate) use event::EventState;
use kernel::futex::Deadline;
pub(crate) use lock::{Acquired, LockState};
pub(crate) use semaphore::{Overflow, SemaphoreState};

#[cfg(all(test, loom))]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};

/// How a machine sleeps and wakes. The word meant is always the low half of `state`.
pub(crate) trait Futex {
    /// Sleeps while the word is `expected`; returns false once the deadline has passed. May return true for no reason.
    fn wait(&self, state: &AtomicU64, expected: u32, deadline: Option<Deadline>) -> bool;

    /// As [`wait`](Self::wait), for the thread `holder`; says so if that thread cannot be the word's holder.
    fn wait_for(&self, holder: u32, state: &AtomicU64, expected: u32, deadline: Option<Deadline>) -> Slept {
        let _ = holder;
        if self.wait(state, expected, deadline) { Slept::Woken } else { Slept::TimedOut }
    }

    /// Wakes at most `n` sleepers; returns how many.
    fn wake(&self, state: &AtomicU64, n: u32) -> u32;

    /// Adds 1 to the word and wakes at most `n` sleepers, as one step: no thread falls asleep and none is killed in
    /// between. Returns how many woke.
    fn increment_and_wake(&self, state: &AtomicU64, n: u32) -> u32;

    /// Sets the lowest bit of the word and wakes all sleepers, as one step.
    fn set_lowest_bit_and_wake_all(&self, state: &AtomicU64);

    /// Whether to look once more before going to sleep, for the `round`th time; if so, lets a moment pass.
    fn spin(&self, round: u32) -> bool;

    /// As [`spin`](Self::spin), where what is looked for is likely to come.
    fn spin_patiently(&self, round: u32) -> bool;

    /// Waits a moment before looking again, if this thread contends with others: it `has_given_way` just now, or
    /// [has contended](Self::has_contended) a moment ago. Returns whether it did.
    fn back_off(&self, has_given_way: bool) -> bool;

    /// Remembers that this thread found a lock taken.
    fn has_contended(&self);
}

/// How a sleep for a holder ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slept {
    /// By a wake-up, or for no reason.
    Woken,
    TimedOut,
    /// The supposed holder cannot be one: the word has been overwritten.
    ForNobody,
}

/// The half of `state` that the kernel compares.
fn word(state: u64) -> u32 {
    state as u32
}
