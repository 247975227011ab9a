//! Who holds a lock, who waits for it, and whether its data are in order.
//!
//! # State table
//! | bits  | name    | meaning                                                                               |
//! |-------|---------|---------------------------------------------------------------------------------------|
//! | 0–29  | owner   | thread id of the holder, 0 if there is none                                           |
//! | 30    | DIED    | the data are not in order: a holder died or panicked, and nobody has repaired them yet |
//! | 31    | WAITERS | somebody may be asleep on the word                                                    |
//! | 32–63 | turn    | counts acquisitions made while WAITERS was set                                        |
//!
//! The low half is what the kernel expects of a robust futex: when a holder dies, the kernel replaces the owner by
//! DIED, keeps WAITERS, and wakes one sleeper.
//!
//! A release keeps WAITERS: of two sleepers the one that was woken may be killed before it gets here, or find that
//! somebody was faster, and the other must still be known of. WAITERS goes only when a release finds nobody asleep
//! and the whole word still as it left it; `turn` makes sure that it is the same and not merely looks alike, because
//! whoever fell asleep since then did so after an acquisition.

use proc_core::futex::Deadline;

use super::{AtomicU64, Futex, Ordering, word};

const OWNER: u64 = (1 << 30) - 1;
const DIED: u64 = 1 << 30;
const WAITERS: u64 = 1 << 31;

#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Lock(AtomicU64);

/// A lock is yours; and whether its data are in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acquired {
    Orderly,
    Inconsistent,
}

impl Lock {
    #[cfg(not(all(test, loom)))]
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    #[cfg(all(test, loom))]
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The thread id of the holder, or 0.
    #[inline]
    pub(crate) fn owner(&self) -> u32 {
        // SeqCst: readers and writers of an `RwLock` each acquire a lock and then look at the other's.
        (self.0.load(Ordering::SeqCst) & OWNER) as u32
    }

    pub(crate) fn is_inconsistent(&self) -> bool {
        self.0.load(Ordering::Relaxed) & DIED != 0
    }

    #[inline]
    pub(crate) fn try_acquire(&self, me: u32) -> Option<Acquired> {
        let mut old = self.0.load(Ordering::Relaxed);
        while old & OWNER == 0 {
            let new = (old | u64::from(me)).wrapping_add((old & WAITERS) << 1);
            // SeqCst: as for `owner`; the Acquire that it includes pairs with the release.
            match self.0.compare_exchange_weak(old, new, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return Some(if old & DIED == 0 { Acquired::Orderly } else { Acquired::Inconsistent }),
                Err(now) => old = now,
            }
        }
        None
    }

    /// As [`try_acquire`](Self::try_acquire), and sleeps until then; `None` once the deadline has passed.
    #[cold]
    pub(crate) fn acquire(&self, me: u32, futex: &impl Futex, deadline: Option<Deadline>) -> Option<Acquired> {
        let mut round = 0;
        loop {
            let acquired = self.try_acquire(me);
            if acquired.is_some() {
                return acquired;
            }
            if futex.spin(round) {
                round += 1;
            } else if !self.sleep_while_held(futex, deadline) {
                return self.try_acquire(me);
            }
        }
    }

    /// Sleeps until the lock is free, without acquiring it; false once the deadline has passed.
    pub(crate) fn wait_while_held(&self, futex: &impl Futex, deadline: Option<Deadline>) -> bool {
        let mut round = 0;
        let mut slept = false;
        while self.owner() != 0 {
            if futex.spin(round) {
                round += 1;
                continue;
            }
            slept = true;
            if !self.sleep_while_held(futex, deadline) {
                return self.owner() == 0;
            }
        }
        if slept {
            // The wake-up was meant for one who would acquire the lock, and wake the next when releasing it.
            futex.wake(&self.0, 1);
        }
        true
    }

    /// Sleeps until the lock is free or its holder another one, or for no reason; false once the deadline has passed.
    fn sleep_while_held(&self, futex: &impl Futex, deadline: Option<Deadline>) -> bool {
        let seen = self.0.load(Ordering::Relaxed);
        if seen & OWNER == 0 {
            return true;
        }
        let flagged = seen | WAITERS;
        if seen != flagged && self.0.compare_exchange(seen, flagged, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return true;
        }
        futex.wait(&self.0, word(flagged), deadline)
    }

    /// Gives up the lock that `me` holds.
    #[inline]
    pub(crate) fn release(&self, me: u32, futex: &impl Futex) {
        let old = self.0.fetch_sub(u64::from(me), Ordering::Release);
        if old & WAITERS != 0 {
            self.wake_one(old - u64::from(me), futex);
        }
    }

    #[cold]
    fn wake_one(&self, left: u64, futex: &impl Futex) {
        if futex.wake(&self.0, 1) == 0 {
            // If it fails, somebody came in between and sees to WAITERS.
            let _ = self.0.compare_exchange(left, left & !WAITERS, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Says that the data are not in order. For the holder.
    pub(crate) fn mark_inconsistent(&self) {
        self.0.fetch_or(DIED, Ordering::Relaxed);
    }

    /// Says that the data are in order again. For the holder.
    pub(crate) fn mark_consistent(&self) {
        self.0.fetch_and(!DIED, Ordering::Relaxed);
    }

    /// What the kernel does to the lock of a thread that dies.
    #[cfg(all(test, loom))]
    pub(crate) fn holder_dies(&self, holder: u32, futex: &impl Futex) {
        let old = self.0.load(Ordering::SeqCst);
        if old & OWNER == u64::from(holder) {
            let old = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |old| Some((old & !OWNER) | DIED));
            if old.is_ok_and(|old| old & WAITERS != 0) {
                futex.wake(&self.0, 1);
            }
        } else if old & OWNER == 0 {
            futex.wake(&self.0, 1);
        }
    }
}
