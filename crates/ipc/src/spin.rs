//! How long to look for news before sleeping, which costs the peer a system call and this side a wake-up.

use std::{
    ops::Range,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use kernel::sys::cpus;

/// Learns from the last waits whether it pays to go on looking, and to let others have the CPU.
///
/// | word | meaning | moved by each wait |
/// |---|---|---|
/// | `in_vain` | spins in vain since the last that was not | 0 if something was found; else 1 more |
/// | `lonely` | how rarely a peer is let get ahead: one wait in 2 to this power | 0 if it got ahead; else 1 more, up to [`MOST_LONELY`] |
/// | `since_ahead` | waits since that was tried | 0 when it is tried; else 1 more |
/// | `keeps` | waits that keep the CPU yet | 1 less; [`TRIAL`] if a yield took longer than [`AWAY`], or no longer than [`NOBODY`] |
///
/// Threads that share one may overwrite each other's counts. They are hints of how long to look, on which nothing depends
/// that must be right, so all accesses are `Relaxed` loads and stores, and there is nothing for a model to find.
#[derive(Debug)]
pub(crate) struct Spin {
    /// Pauses between two looks, at most: the more, the more the other side gets done undisturbed, and the later an
    /// answer is seen.
    longest_pause: u32,
    /// Spins in vain since the last that was not.
    in_vain: AtomicU32,
    /// How often in a row it did not pay to let a peer get ahead, in powers of two: see [`let_ahead`](Self::let_ahead).
    lonely: AtomicU32,
    /// Waits since it was tried last.
    since_ahead: AtomicU32,
    /// So many more waits keep the CPU: a thread that gets it does not give it back soon, or no thread wants it.
    keeps: AtomicU32,
}

/// Pauses before sleeping; about the time that waking a sleeper takes: a message that comes within it was worth the wait.
const LONG: u32 = 2000;
const SHORT: u32 = 30;

/// While spinning does not pay, one wait in so many tries again.
const TRIAL: u32 = 32;

/// How long to let a peer get ahead at most: so many looks, with so many pauses after each.
const AHEAD_LOOKS: u32 = 12;
const AHEAD_PAUSES: u32 = 8;
/// After vain tries, one wait in 2 to the power of that is still one.
const MOST_LONELY: u32 = 10;

/// A peer that runs answers within so many pauses; one that does not may be waiting for this very CPU.
const PROMPT: u32 = 50;

/// A thread that kept the CPU for longer than this was no peer about to answer.
const AWAY: Duration = Duration::from_micros(500);

/// A yield that takes no longer gave the CPU to no thread: two switches take twice as long. The system call was for nothing,
/// and the peer, which waits for what comes after it, makes one in turn: once both do, each gives the other reason to go on.
const NOBODY: Duration = Duration::from_nanos(1000);

impl Spin {
    pub(crate) fn new(longest_pause: u32) -> Self {
        Self {
            longest_pause,
            in_vain: AtomicU32::new(0),
            lonely: AtomicU32::new(0),
            since_ahead: AtomicU32::new(0),
            keeps: AtomicU32::new(0),
        }
    }

    /// Looks until `look` finds something, for a moment.
    pub(crate) fn until<R>(&self, mut look: impl FnMut() -> Option<R>) -> Option<R> {
        let in_vain = self.in_vain.load(Relaxed);
        let n = match () {
            () if is_alone() => 0,
            () if in_vain < 2 || in_vain.is_multiple_of(TRIAL) => LONG,
            () => SHORT,
        };
        let found = self
            .look_on(0..n.min(PROMPT), &mut look)
            .or_else(|| self.give_way().then(&mut look).flatten())
            .or_else(|| self.look_on(PROMPT..n, &mut look));
        self.in_vain.store(if found.is_some() { 0 } else { in_vain.wrapping_add(1) }, Relaxed);
        found
    }

    /// Before a wait whose end is at hand: lets a peer that streams get some steps ahead, for then the two do not work on
    /// the same cache lines, and each gets on faster. `is_ahead` says when it is. Whether the peer streams, or waits for
    /// what the caller does next, is found out by trying: less and less often while it does not.
    pub(crate) fn let_ahead(&self, mut is_ahead: impl FnMut() -> bool) {
        let lonely = self.lonely.load(Relaxed);
        let since = self.since_ahead.load(Relaxed).wrapping_add(1);
        self.since_ahead.store(since, Relaxed);
        if is_alone() || since < 1 << lonely {
            return;
        }
        self.since_ahead.store(0, Relaxed);
        for _ in 0..AHEAD_LOOKS {
            if is_ahead() {
                self.lonely.store(0, Relaxed);
                return;
            }
            (0..AHEAD_PAUSES).for_each(|_| std::hint::spin_loop());
        }
        self.lonely.store((lonely + 1).min(MOST_LONELY), Relaxed);
    }

    /// Lets others run on this CPU, unless that has cost too much lately.
    fn give_way(&self) -> bool {
        let keeps = self.keeps.load(Relaxed);
        if keeps > 0 {
            self.keeps.store(keeps - 1, Relaxed);
            return false;
        }
        let begun = Instant::now();
        std::thread::yield_now();
        self.learn_from_yield(begun.elapsed());
        true
    }

    fn learn_from_yield(&self, took: Duration) {
        if !(NOBODY..=AWAY).contains(&took) {
            self.keeps.store(TRIAL, Relaxed);
        }
    }

    /// Looks, ever less often, while the pauses last.
    fn look_on<R>(&self, pauses: Range<u32>, mut look: impl FnMut() -> Option<R>) -> Option<R> {
        let (mut spun, mut pause) = (pauses.start, if pauses.start == 0 { 1 } else { self.longest_pause });
        while spun < pauses.end {
            for _ in 0..pause {
                std::hint::spin_loop();
            }
            spun += pause;
            pause = (pause * 2).min(self.longest_pause);
            let found = look();
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

/// On a single processor, a thread that spins keeps the other from running.
fn is_alone() -> bool {
    static ALONE: OnceLock<bool> = OnceLock::new();
    *ALONE.get_or_init(|| cpus::available() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often a spin in vain looks.
    fn looks_in_vain(spin: &Spin) -> u32 {
        let mut n = 0;
        let found: Option<()> = spin.until(|| {
            n += 1;
            None
        });
        assert_eq!(found, None);
        n
    }

    #[test]
    fn what_comes_is_found_at_the_first_look_after() {
        for coming in 1..3 {
            let mut n = if is_alone() { coming - 1 } else { 0 };
            let found = Spin::new(8).until(|| {
                n += 1;
                (n == coming).then_some(n)
            });
            assert_eq!(found, Some(coming));
        }
    }

    #[test]
    fn spins_in_vain_become_short_except_for_trials() {
        let spin = Spin::new(8);
        let is_long = |n| is_alone() || n > LONG / 8 / 2;
        let is_short = |n| n < SHORT;
        assert!(is_long(looks_in_vain(&spin)) && is_long(looks_in_vain(&spin)));
        assert!((2..TRIAL).all(|_| is_short(looks_in_vain(&spin))));
        assert!(is_long(looks_in_vain(&spin)) && is_short(looks_in_vain(&spin)));
        assert!(spin.until(|| Some(())).is_some());
        assert!(is_long(looks_in_vain(&spin)));
    }

    #[test]
    fn a_cpu_is_kept_for_some_waits_when_a_yield_brought_nothing() {
        let spin = Spin::new(8);
        spin.keeps.store(2, Relaxed);
        assert_eq!([spin.give_way(), spin.give_way(), spin.give_way()], [false, false, true]);
        for (took, keeps) in [(NOBODY / 2, TRIAL), (NOBODY * 2, 0), (AWAY, 0), (AWAY * 2, TRIAL)] {
            spin.keeps.store(0, Relaxed);
            spin.learn_from_yield(took);
            assert_eq!(spin.keeps.load(Relaxed), keeps, "{took:?}");
        }
    }
}
