//! Who holds a lock, who waits for it, and whether its data are in order.
//!
//! # State table
//! | bits  | name    | meaning                                                                               |
//! |-------|---------|---------------------------------------------------------------------------------------|
//! | 0–29  | owner   | thread id of the holder, 0 if there is none                                           |
//! | 30    | DIED    | the data are not in order: a holder died or panicked, and nobody has repaired them yet |
//! | 31    | WAITERS | somebody may be asleep on the word                                                    |
//! | 32–62 | turn    | while WAITERS is set: another number after each acquisition; else 0                   |
//! | 63    | CLAIMED | who comes anew is to let somebody else go first; goes with the next acquisition       |
//!
//! The low half is what the kernel expects of a robust futex: when a holder dies, the kernel replaces the owner by
//! DIED, keeps WAITERS, and wakes one sleeper.
//!
//! A release keeps WAITERS: of two sleepers the one that was woken may be killed before it gets here, or find that
//! somebody was faster, and the other must still be known of. WAITERS goes only when a release finds nobody asleep
//! and the whole word still as it left it; `turn` makes sure that it is the same and not merely looks alike, because
//! whoever fell asleep since then did so after an acquisition. A free lock without waiters is 0, so that it can be
//! acquired without having been looked at.
//!
//! A word that somebody has overwritten may name a thread that never heard of the lock, and would never release it. Who
//! has slept for long asks whether the holder can be one ([`Futex::wait_for`]); if not, it is as if it had died. But not
//! where the lock is known in several pid namespaces: there the id may be that of a thread which cannot be asked about.
//!
//! # Orderings
//! | access | ordering | reason |
//! |---|---|---|
//! | acquisition, `owner` | `SeqCst` | Acquire: what former holders did is seen. And more: a reader and a writer of an `RwLock` each acquire one lock and then look at the other's `owner`; in the single order of these four, at least one sees the other |
//! | release | `Release` | pairs with the acquisition |
//! | flags, claims, sleep, turns | `Relaxed` | they say who waits, and nothing about the data. The kernel compares the word itself before a sleep |
//! | `is_inconsistent`, `mark_*` | `Relaxed` | of the holder, whose acquisition has ordered them; else a message to a person |
//! | NAMESPACES | `Relaxed` after an `Acquire` fence | set before such a thread acquires the lock, so whoever has read its name in the word sees it |
//!
//! # Fairness
//! Whoever comes may take a free lock, also before those who wait: a lock that waited for each to wake up would stand
//! idle most of the time. But who has stayed away from it for a while (it slept, or [backed off](Futex::back_off)) and
//! finds it taken again claims it: whoever comes anew lets the claimant go first, and then stays away itself. So of two
//! that do nothing else, each has the lock for some microseconds, without the other tearing at its cache line.
//!
//! A claim stands while its maker is awake. One that has slept in vain [`MANY_SLEEPS`] times leaves it standing when it
//! goes to sleep again, and is waited for, at most for a [`NAP`]. A claim is a request and names nobody: if its maker
//! is killed, it costs the next comer a nap and is gone.

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

/// What a lock's first word says to one who looks from outside.
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

    /// What the second word says: how many turns there were, and whether ids may mean others.
    pub(crate) fn turns(second: u64) -> (u64, bool) {
        (second & !NAMESPACES, second & NAMESPACES != 0)
    }
}

/// A lock is yours; and whether its data are in order.
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

    /// Acquires the lock if nobody holds it or waits for it, and its data are in order.
    #[inline]
    pub(crate) fn try_acquire_idle(&self, me: u32) -> bool {
        // SeqCst: as for `owner`; the Acquire that it includes pairs with the release.
        self.state.compare_exchange(0, u64::from(me), Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// Acquires the lock if it is free, whoever claims it.
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

    /// Another number than ever before, or than 2³¹ ago, in its place in the word.
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

    /// Has whoever comes anew leave the lock, once it is free, to somebody who has stayed away from it.
    pub(super) fn claim(&self) {
        let seen = self.state.load(Ordering::Relaxed);
        if seen & OWNER != 0 && seen & CLAIMED == 0 {
            // If it fails, the lock has been released, most likely.
            let _ = self.state.compare_exchange(seen, seen | CLAIMED, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Leaves a free lock that somebody claims to that one, for a while; true if somebody did.
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
            // The wake-up was meant for one who would acquire the lock, and wake the next when releasing it.
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
                // As the kernel does when a holder dies. If it fails, somebody was faster.
                let free = (asleep & !OWNER) | DIED;
                let _ = self.state.compare_exchange(asleep, free, Ordering::Relaxed, Ordering::Relaxed);
                true
            }
        }
    }

    /// Gives up the lock that `me` holds in the most frequent case: nobody waits for it, and its data are in order.
    #[inline]
    pub(crate) fn release_idle(&self, me: u32) -> bool {
        self.state.compare_exchange(u64::from(me), 0, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Gives up the lock that `me` holds, and wakes somebody for it.
    #[cold]
    #[inline(never)]
    pub(crate) fn release(&self, me: u32, futex: &impl Futex) {
        let held = self.state.fetch_sub(u64::from(me), Ordering::Release);
        if held & WAITERS != 0 && futex.wake(&self.state, 1) == 0 {
            let left = held - u64::from(me);
            // If it fails, somebody came in between and sees to WAITERS.
            let _ = self.state.compare_exchange(left, left & DIED, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Takes note that threads of several pid namespaces use the lock, whose ids may be equal.
    pub(crate) fn note_other_namespaces(&self) {
        if self.turns.load(Ordering::Relaxed) & NAMESPACES == 0 {
            self.turns.fetch_or(NAMESPACES, Ordering::Relaxed);
        }
    }

    /// To be asked after the word was looked at: who is named there has said so before.
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
