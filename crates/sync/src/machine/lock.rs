//! Who holds a lock, who waits for it, and whether its data are in order.
//!
//! # State table
//! | bits  | name    | meaning                                                                               |
//! |-------|---------|---------------------------------------------------------------------------------------|
//! | 0–29  | owner   | thread id of the holder, 0 if there is none                                           |
//! | 30    | DIED    | the data are not in order: a holder died or panicked, and none has repaired them yet  |
//! | 31    | WAITERS | threads may be asleep on the word                                                     |
//! | 32–62 | turn    | while WAITERS is set: another number after each acquisition; else 0                   |
//! | 63    | CLAIMED | a newcomer is to let a waiter go first; the next acquisition clears it                |
//!
//! The low half is what the kernel expects of a robust futex: when a holder dies, the kernel replaces the owner by
//! DIED, keeps WAITERS, and wakes one sleeper.
//!
//! A release keeps WAITERS: of two sleepers, the one that was woken may be killed before it acquires the lock, or find
//! that another thread was faster; WAITERS then still stands for the other sleeper. A release clears WAITERS only if it
//! wakes no sleeper and the whole word is as it left it. A thread that fell asleep since then did so after an
//! acquisition, which changed `turn`. A free lock without waiters is 0, so that it can be acquired without being read
//! first.
//!
//! A peer that misbehaves may overwrite the word with the id of a thread that never uses the lock, and so never releases
//! it. A thread that has slept for long checks whether that thread can be the holder ([`Futex::wait_for`]). If it cannot,
//! it is treated as a holder that died. This is not done where several pid namespaces use the lock: there the id may
//! belong to a thread that the sleeper cannot ask about.
//!
//! # Orderings
//! | access | ordering | reason |
//! |---|---|---|
//! | acquisition, `owner` | `SeqCst` | Acquire: what former holders did is seen. And more: a reader and a writer of an `RwLock` each acquire one lock and then look at the other's `owner`; in the single order of these four, at least one sees the other |
//! | release | `Release` | pairs with the acquisition |
//! | flags, claims, sleep, turns | `Relaxed` | they say who waits, and nothing about the data. The kernel compares the word itself before a sleep |
//! | `is_inconsistent`, `mark_*` | `Relaxed` | the holder calls them, and its acquisition has ordered them; for any other caller the answer is only information |
//! | NAMESPACES | `Relaxed` after an `Acquire` fence | set before such a thread acquires the lock, so a thread that has read its id in the word sees it |
//!
//! # Fairness
//! A newcomer may take a free lock before the waiters: a lock that waited for each of them to wake up would stand idle
//! most of the time. But a thread that has stayed away from the lock for a while (it slept, or
//! [backed off](Futex::back_off)) and finds it taken again claims it: newcomers let the claimant go first, and then stay
//! away themselves. So of two threads that do nothing else, each has the lock for some microseconds, and the other does
//! not pull its cache line away.
//!
//! A claim stands while its maker is awake. A thread that has slept in vain [`MANY_SLEEPS`] times leaves its claim
//! standing when it sleeps again, and newcomers wait for it, at most for a [`NAP`]. A claim does not name its maker: if
//! that is killed, the next newcomer naps once, and its acquisition clears the claim.

use std::time::Duration;

use kernel::futex::Deadline;

use super::{AtomicU64, Futex, Ordering, Slept, fence, word};

const OWNER: u64 = (1 << 30) - 1;
const DIED: u64 = 1 << 30;
const WAITERS: u64 = 1 << 31;
const LOW_HALF: u64 = (1 << 32) - 1;
const CLAIMED: u64 = 1 << 63;

/// In `turns`: threads of several pid namespaces use the lock. Set before such a thread first acquires it, for good.
const NAMESPACES: u64 = 1 << 63;

/// How often to sleep in vain before others are kept from the lock until one wakes up.
const MANY_SLEEPS: u32 = if cfg!(all(test, loom)) { 1 } else { 8 };

/// How long to leave a free lock to those who claim it: longer than most take to wake up.
const NAP: Duration = Duration::from_micros(100);

#[derive(Debug)]
#[repr(C)]
pub(crate) struct LockState {
    state: AtomicU64,
    /// The last number that was given to a turn; and [`NAMESPACES`].
    turns: AtomicU64,
}

/// A lock's first word, for a program that looks from outside.
#[cfg(feature = "inspect")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct LockWord(pub(crate) u64);

#[cfg(feature = "inspect")]
impl LockWord {
    /// The thread id of the holder, or 0.
    pub(crate) fn owner(self) -> u32 {
        (self.0 & OWNER) as u32
    }

    pub(crate) fn is_inconsistent(self) -> bool {
        self.0 & DIED != 0
    }

    pub(crate) fn has_waiters(self) -> bool {
        self.0 & WAITERS != 0
    }

    /// What the second word says: how many turns there were, and whether ids may be of another pid namespace.
    pub(crate) fn turns(second: u64) -> (u64, bool) {
        (second & !NAMESPACES, second & NAMESPACES != 0)
    }
}

/// The caller holds the lock; and whether its data are in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acquired {
    Orderly,
    Inconsistent,
}

impl LockState {
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

    /// Acquires the lock if it has no holder and no waiters, and its data are in order.
    #[inline]
    pub(crate) fn try_acquire_idle(&self, me: u32) -> bool {
        // SeqCst: as for `owner`; the Acquire that it includes pairs with the release.
        self.state.compare_exchange(0, u64::from(me), Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// Acquires the lock if it is free, claimed or not.
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

    /// A number that was not used before, or not for 2³¹ turns, in its place in the word.
    fn next_turn(&self) -> u64 {
        (self.turns.fetch_add(1, Ordering::Relaxed) << 32) & !CLAIMED
    }

    /// As [`try_acquire`](Self::try_acquire), and sleeps until then; `None` once the deadline has passed.
    pub(crate) fn acquire(&self, me: u32, futex: &impl Futex, deadline: Option<Deadline>) -> Option<Acquired> {
        let gave_way = self.give_way(futex, deadline);
        let mut may_claim = futex.back_off(gave_way);
        let (mut round, mut n_sleeps) = (0, 0);
        loop {
            let acquired = self.try_acquire(me);
            if acquired.is_some() {
                futex.has_contended();
                return acquired;
            }
            if may_claim {
                self.claim();
            }
            if futex.spin(round) {
                round += 1;
                continue;
            }
            let kept = if n_sleeps < MANY_SLEEPS { 0 } else { CLAIMED };
            if !self.sleep_while_held(kept, futex, deadline) {
                return self.try_acquire(me);
            }
            (round, n_sleeps, may_claim) = (0, n_sleeps + 1, true);
        }
    }

    /// Claims the lock: once it is free, newcomers leave it to a thread that has stayed away from it.
    pub(super) fn claim(&self) {
        let seen = self.state.load(Ordering::Relaxed);
        if seen & OWNER != 0 && seen & CLAIMED == 0 {
            // If it fails, the lock has been released, most likely.
            let _ = self.state.compare_exchange(seen, seen | CLAIMED, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Leaves a free lock that is claimed to the claimant, for a while; true if it was claimed.
    fn give_way(&self, futex: &impl Futex, deadline: Option<Deadline>) -> bool {
        let mut round = 0;
        loop {
            let seen = self.state.load(Ordering::Relaxed);
            if seen & (OWNER | CLAIMED) != CLAIMED {
                return round > 0;
            }
            if !futex.spin_patiently(round) {
                let nap = deadline.map_or(NAP, |deadline| deadline.remaining().min(NAP));
                self.sleep_on(seen, seen, futex, Deadline::after(nap));
                return true;
            }
            round += 1;
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
            if !self.sleep_while_held(CLAIMED, futex, deadline) {
                return self.owner() == 0;
            }
        }
        if slept {
            // The wake-up was meant for a thread that acquires the lock, and wakes the next when it releases it.
            futex.wake(&self.state, 1);
        }
        true
    }

    /// Sleeps until the lock is free or its holder another one, or for no reason; false once the deadline has passed.
    /// Leaves the `kept` flags in the word.
    fn sleep_while_held(&self, kept: u64, futex: &impl Futex, deadline: Option<Deadline>) -> bool {
        let seen = self.state.load(Ordering::Relaxed);
        seen & OWNER == 0 || self.sleep_on(seen, seen & (kept | !CLAIMED), futex, deadline)
    }

    /// Sleeps while the word is as it was `seen`, after having made `left` of it; as `sleep_while_held`.
    fn sleep_on(&self, seen: u64, left: u64, futex: &impl Futex, deadline: Option<Deadline>) -> bool {
        let mut asleep = seen;
        if seen & OWNER == 0 || seen & WAITERS == 0 || seen != left {
            asleep = (left & (LOW_HALF | CLAIMED)) | WAITERS | self.next_turn();
            if self.state.compare_exchange(seen, asleep, Ordering::Relaxed, Ordering::Relaxed).is_err() {
                return true;
            }
        }
        let expected = word(seen | WAITERS);
        if seen & OWNER == 0 {
            return futex.wait(&self.state, expected, deadline);
        }
        match futex.wait_for((seen & OWNER) as u32, &self.state, expected, deadline) {
            Slept::Woken => true,
            Slept::TimedOut => false,
            Slept::ForNobody if self.has_other_namespaces() => true,
            Slept::ForNobody => {
                // As the kernel does when a holder dies. If it fails, another thread was faster.
                let free = (asleep & !OWNER) | DIED;
                let _ = self.state.compare_exchange(asleep, free, Ordering::Relaxed, Ordering::Relaxed);
                true
            }
        }
    }

    /// Gives up the lock that `me` holds in the most frequent case: it has no waiters, and its data are in order.
    #[inline]
    pub(crate) fn release_idle(&self, me: u32) -> bool {
        self.state.compare_exchange(u64::from(me), 0, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Gives up the lock that `me` holds, and wakes a waiter.
    #[cold]
    #[inline(never)]
    pub(crate) fn release(&self, me: u32, futex: &impl Futex) {
        let held = self.state.fetch_sub(u64::from(me), Ordering::Release);
        if held & WAITERS != 0 && futex.wake(&self.state, 1) == 0 {
            let left = held - u64::from(me);
            // If it fails, another thread came in between, and its release handles WAITERS.
            let _ = self.state.compare_exchange(left, left & DIED, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Takes note that threads of several pid namespaces use the lock, whose ids may be equal.
    pub(crate) fn note_other_namespaces(&self) {
        if self.turns.load(Ordering::Relaxed) & NAMESPACES == 0 {
            self.turns.fetch_or(NAMESPACES, Ordering::Relaxed);
        }
    }

    /// Call it after reading the word: the thread named there has set the flag before.
    pub(crate) fn has_other_namespaces(&self) -> bool {
        fence(Ordering::Acquire);
        self.turns.load(Ordering::Relaxed) & NAMESPACES != 0
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
