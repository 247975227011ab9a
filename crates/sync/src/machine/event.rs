//! Whether an event is set, and whether threads wait for it.
//!
//! # State table
//! | bits  | name    | meaning                                                                       |
//! |-------|---------|-------------------------------------------------------------------------------|
//! | 0–30  | count   | how often it was set or cleared: odd while it is set                          |
//! | 31    | WAITERS | threads may be asleep on the word; they sleep only while the event is not set |
//! | 32–63 |         | always 0                                                                      |
//!
//! While threads may sleep, setting and waking are one system call, so a killed setter has done both or neither. It
//! changes the lowest bit and nothing else, so two setters at a time are as good as one.
//!
//! Orderings: setting and clearing are `SeqCst`, which includes the `Release` that pairs with the `Acquire` of each look. `Relaxed`: loads
//! that a compare-and-swap checks, and WAITERS, which the kernel compares itself.

use kernel::futex::Deadline;

use super::{AtomicU64, Futex, Ordering, word};

const COUNT: u64 = (1 << 31) - 1;
const WAITERS: u64 = 1 << 31;

#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct EventState(AtomicU64);

/// Whether a word says that the event is set, and whether threads may wait for that.
#[cfg(feature = "inspect")]
pub(crate) fn decode(word: u64) -> (bool, bool) {
    (is_set(word), word & WAITERS != 0)
}

impl EventState {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn is_set(&self) -> bool {
        is_set(self.0.load(Ordering::Acquire))
    }

    pub(crate) fn set(&self, futex: &impl Futex) {
        let mut old = self.0.load(Ordering::Relaxed);
        loop {
            if old & WAITERS != 0 {
                if is_set(old) && self.0.compare_exchange(old, old, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
                    return;
                }
                return futex.set_lowest_bit_and_wake_all(&self.0);
            }
            // Also when it is set already: what the caller did before must be seen by those who find it set.
            match self.0.compare_exchange_weak(old, old | 1, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => old = now,
            }
        }
    }

    pub(crate) fn clear(&self) {
        let mut old = self.0.load(Ordering::Relaxed);
        while is_set(old) {
            // No thread sleeps while it is set, so WAITERS can go. A hostile process may have set all the bits that are always 0.
            let new = old.wrapping_add(1) & COUNT;
            match self.0.compare_exchange_weak(old, new, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => old = now,
            }
        }
    }

    /// How often it has been set and cleared.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire) & COUNT
    }

    /// Whether it is set, or has been since that count.
    pub(crate) fn has_been_set_since(&self, count: u64) -> bool {
        has_been_set(self.0.load(Ordering::Acquire), count)
    }

    /// Sleeps until it is set or has been set since; false once the deadline has passed.
    pub(crate) fn wait(&self, futex: &impl Futex, deadline: Option<Deadline>) -> bool {
        self.wait_since(self.count(), futex, deadline)
    }

    /// As [`wait`](Self::wait), for a caller that came when the count was `count`.
    pub(crate) fn wait_since(&self, count: u64, futex: &impl Futex, deadline: Option<Deadline>) -> bool {
        let mut round = 0;
        loop {
            let now = self.0.load(Ordering::Acquire);
            if has_been_set(now, count) {
                return true;
            }
            if futex.spin(round) {
                round += 1;
                continue;
            }
            let flagged = now | WAITERS;
            let may_sleep =
                now == flagged || self.0.compare_exchange(now, flagged, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            if may_sleep && !futex.wait(&self.0, word(flagged), deadline) {
                return self.has_been_set_since(count);
            }
        }
    }
}

fn has_been_set(state: u64, count: u64) -> bool {
    is_set(state) || state & COUNT != count
}

fn is_set(state: u64) -> bool {
    state & 1 != 0
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_hostile_process_wrote_is_cleared() {
        for bits in [u64::MAX, u64::MAX ^ WAITERS, COUNT, 1 << 63 | 1] {
            let event = EventState(AtomicU64::new(bits));
            assert!(event.is_set());
            event.clear();
            assert_eq!((event.is_set(), event.count()), (false, bits.wrapping_add(1) & COUNT));
        }
    }
}
