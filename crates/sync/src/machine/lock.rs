//! Who holds a lock, who waits for it, and whether its data are in order.
//!
//! # State table
//! | bits  | name    | meaning                                                                               |
//! |-------|---------|---------------------------------------------------------------------------------------|
//! | 0–29  | owner   | thread id of the holder, 0 if there is none                                           |
//! | 30    | DIED    | the data are not in order: a holder died or panicked, and nobody has repaired them yet |
//! | 31    | WAITERS | somebody may be asleep on the word                                                    |
//! | 32–63 | turn    | while WAITERS is set: another number after each acquisition; else 0                   |
//!
//! The low half is what the kernel expects of a robust futex: when a holder dies, the kernel replaces the owner by
//! DIED, keeps WAITERS, and wakes one sleeper.
//!
//! A release keeps WAITERS: of two sleepers the one that was woken may be killed before it gets here, or find that
//! somebody was faster, and the other must still be known of. WAITERS goes only when a release finds nobody asleep
//! and the whole word still as it left it; `turn` makes sure that it is the same and not merely looks alike, because
//! whoever fell asleep since then did so after an acquisition. A free lock without waiters is 0, so that it can be
//! acquired without having been looked at.

use proc_core::futex::Deadline;

use super::{AtomicU64, Futex, Ordering, word};

const OWNER: u64 = (1 << 30) - 1;
const DIED: u64 = 1 << 30;
const WAITERS: u64 = 1 << 31;
const LOW_HALF: u64 = (1 << 32) - 1;

#[derive(Debug)]
#[repr(C)]
pub(crate) struct Lock {
    state: AtomicU64,
    /// The last number that was given to a turn.
    turns: AtomicU64,
}

/// A lock is yours; and whether its data are in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acquired {
    Orderly,
    Inconsistent,
}

impl Lock {
    #[cfg(not(all(test, loom)))]
    pub(crate) const fn new() -> Self {
        Self { state: AtomicU64::new(0), turns: AtomicU64::new(0) }
    }

    #[cfg(all(test, loom))]
    pub(crate) fn new() -> Self {
        Self { state: AtomicU64::new(0), turns: AtomicU64::new(0) }
    }

    /// The thread id of the holder, or 0.
    #[inline]
    pub(crate) fn owner(&self) -> u32 {
        // SeqCst: readers and writers of an `RwLock` each acquire a lock and then look at the other's. Loom takes such
        // accesses for AcqRel; there, the fence makes of it what it is.
        #[cfg(all(test, loom))]
        loom::sync::atomic::fence(Ordering::SeqCst);
        (self.state.load(Ordering::SeqCst) & OWNER) as u32
    }

    pub(crate) fn is_inconsistent(&self) -> bool {
        self.state.load(Ordering::Relaxed) & DIED != 0
    }

    /// Acquires the lock if nobody holds it or waits for it, and its data are in order.
    #[inline]
    pub(crate) fn try_acquire_idle(&self, me: u32) -> Option<Acquired> {
        // SeqCst: as for `owner`; the Acquire that it includes pairs with the release.
        let before = self.state.compare_exchange(0, u64::from(me), Ordering::SeqCst, Ordering::Relaxed);
        before.is_ok().then_some(Acquired::Orderly)
    }

    pub(crate) fn try_acquire(&self, me: u32) -> Option<Acquired> {
        let mut old = self.state.load(Ordering::Relaxed);
        while old & OWNER == 0 {
            let mut new = (old & LOW_HALF) | u64::from(me);
            if old & WAITERS != 0 {
                new |= self.next_turn();
            }
            // SeqCst: as above.
            match self.state.compare_exchange(old, new, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return Some(if old & DIED == 0 { Acquired::Orderly } else { Acquired::Inconsistent }),
                Err(now) => old = now,
            }
        }
        None
    }

    /// Another number than ever before, or than 2³² ago, in its place in the word.
    fn next_turn(&self) -> u64 {
        self.turns.fetch_add(1, Ordering::Relaxed) << 32
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
            futex.wake(&self.state, 1);
        }
        true
    }

    /// Sleeps until the lock is free or its holder another one, or for no reason; false once the deadline has passed.
    fn sleep_while_held(&self, futex: &impl Futex, deadline: Option<Deadline>) -> bool {
        let seen = self.state.load(Ordering::Relaxed);
        if seen & OWNER == 0 {
            return true;
        }
        if seen & WAITERS == 0 {
            let flagged = seen | WAITERS | self.next_turn();
            if self.state.compare_exchange(seen, flagged, Ordering::Relaxed, Ordering::Relaxed).is_err() {
                return true;
            }
        }
        futex.wait(&self.state, word(seen | WAITERS), deadline)
    }

    /// Gives up the lock that `me` holds.
    #[inline]
    pub(crate) fn release(&self, me: u32, futex: &impl Futex) {
        let old = self.state.fetch_sub(u64::from(me), Ordering::Release);
        if old & WAITERS != 0 {
            self.wake_one(old - u64::from(me), futex);
        }
    }

    #[cold]
    fn wake_one(&self, left: u64, futex: &impl Futex) {
        if futex.wake(&self.state, 1) == 0 {
            // If it fails, somebody came in between and sees to WAITERS.
            let _ = self.state.compare_exchange(left, left & DIED, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Says that the data are not in order. For the holder.
    pub(crate) fn mark_inconsistent(&self) {
        self.state.fetch_or(DIED, Ordering::Relaxed);
    }

    /// Says that the data are in order again. For the holder.
    pub(crate) fn mark_consistent(&self) {
        self.state.fetch_and(!DIED, Ordering::Relaxed);
    }

    /// What the kernel does to the lock of a thread that dies.
    #[cfg(all(test, loom))]
    pub(crate) fn holder_dies(&self, holder: u32, futex: &impl Futex) {
        let old = self.state.load(Ordering::SeqCst);
        if old & OWNER == u64::from(holder) {
            let old = self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |old| Some((old & !OWNER) | DIED));
            if old.is_ok_and(|old| old & WAITERS != 0) {
                futex.wake(&self.state, 1);
            }
        } else if old & OWNER == 0 {
            futex.wake(&self.state, 1);
        }
    }
}
