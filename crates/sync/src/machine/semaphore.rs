//! How many permits are left, and whether threads wait for one.
//!
//! # State table
//! | bits  | name      | meaning                                                      |
//! |-------|-----------|--------------------------------------------------------------|
//! | 0–29  |           | always 0                                                     |
//! | 30    | AVAILABLE | `permits` is not 0                                           |
//! | 31    | WAITERS   | threads may be asleep that no release has woken yet          |
//! | 32–63 | permits   | how many can be acquired at once                             |
//!
//! Threads sleep only while the low half is WAITERS alone. A release clears WAITERS and wakes as many threads as there
//! are permits. Each that wakes sets WAITERS again, as it cannot know whether others still sleep. In between, it is the
//! woken thread that must see to those others. If it is killed, or a releaser is between its two steps, the kernel wakes
//! one more: every caller has announced the word as the operation it is at (`sys::robust`), and since bits 0–29 name no
//! owner, the kernel takes it for a lock that its owner has just released.
//!
//! Orderings: a release is `Release` and taking a permit `Acquire`, so what a thread did before the release is seen after
//! taking the permit. All else is `Relaxed`: loads that a compare-and-swap checks, and WAITERS, which the kernel compares
//! itself.

use kernel::futex::Deadline;

use super::{AtomicU64, Futex, Ordering, word};

const AVAILABLE: u64 = 1 << 30;
const WAITERS: u64 = 1 << 31;
const ONE: u64 = 1 << 32;

#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct SemaphoreState(AtomicU64);

/// How many permits a word says there are, and whether threads may wait for one.
#[cfg(feature = "inspect")]
pub(crate) fn decode(word: u64) -> (u32, bool) {
    (permits(word), word & WAITERS != 0)
}

/// A release would have exceeded the limit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

impl SemaphoreState {
    pub(crate) fn new(permits: u32) -> Self {
        Self(AtomicU64::new(with_permits(permits)))
    }

    pub(crate) fn state(&self) -> &AtomicU64 {
        &self.0
    }

    pub(crate) fn permits(&self) -> u32 {
        permits(self.0.load(Ordering::Relaxed))
    }

    pub(crate) fn try_acquire(&self) -> bool {
        self.take(0).is_some()
    }

    /// Takes a permit as soon as there is one; false once the deadline has passed.
    pub(crate) fn acquire(&self, futex: &impl Futex, deadline: Option<Deadline>) -> bool {
        let mut round = 0;
        while futex.spin(round) {
            if self.try_acquire() {
                return true;
            }
            round += 1;
        }
        let mut slept = 0;
        loop {
            if let Some(left) = self.take(slept) {
                if slept != 0 && left != 0 {
                    // The releaser may have been killed before it could wake more than one of us.
                    futex.wake(&self.0, 1);
                }
                return true;
            }
            let seen = self.0.load(Ordering::Relaxed);
            let may_sleep = seen & AVAILABLE == 0
                && (seen & WAITERS != 0
                    || self.0.compare_exchange(seen, seen | WAITERS, Ordering::Relaxed, Ordering::Relaxed).is_ok());
            if may_sleep {
                slept = WAITERS;
                if !futex.wait(&self.0, word(WAITERS), deadline) {
                    return self.take(WAITERS).is_some();
                }
            }
        }
    }

    /// Takes a permit if there is one, and returns how many are left.
    fn take(&self, flags: u64) -> Option<u32> {
        let mut old = self.0.load(Ordering::Relaxed);
        while old & AVAILABLE != 0 {
            // A hostile process can set AVAILABLE although there are no permits.
            let left = permits(old).saturating_sub(1);
            let new = with_permits(left) | (old & WAITERS) | flags;
            match self.0.compare_exchange_weak(old, new, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(left),
                Err(now) => old = now,
            }
        }
        None
    }

    /// Adds `n` permits, of which there may be `limit` at most.
    pub(crate) fn release(&self, n: u32, limit: u32, futex: &impl Futex) -> Result<(), Overflow> {
        let mut old = self.0.load(Ordering::Relaxed);
        loop {
            let total = permits(old).checked_add(n).filter(|total| *total <= limit).ok_or(Overflow)?;
            match self.0.compare_exchange_weak(old, with_permits(total), Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => old = now,
            }
        }
        if old & WAITERS != 0 {
            futex.wake(&self.0, n);
        }
        Ok(())
    }
}

fn permits(state: u64) -> u32 {
    (state / ONE) as u32
}

fn with_permits(permits: u32) -> u64 {
    let available = if permits == 0 { 0 } else { AVAILABLE };
    (u64::from(permits) * ONE) | available
}
