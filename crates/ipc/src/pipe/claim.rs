//! Who uses one half of an end: one process at a time, told apart by what stands in [`TurnWords`].
//!
//! Nearly always it is the same one for good, so the half leans towards it: it marks itself `busy` and looks whether the
//! half still leans its way, both plain. Any other takes the lean away, has all processors run a fence, waits until
//! `busy` is 0 again, and from then on both take turns. Who takes turns alone for a while has the half lean again.
//!
//! | word | meaning | who may move it |
//! |---|---|---|
//! | `holder` | the user whose turn it is, or 0 | 0 to itself: anyone; the dead to itself: anyone; to 0: the holder |
//! | `lean` | the user that needs no turn, or 0 | the holder |
//! | `leaner` | the user that may write `busy`, or 0 | 0 or the dead to itself: the holder; to 0: the leaner |
//! | `busy` | the leaner is inside | the leaner; to 0 once it is dead: the holder |
//! | `last` | the user that was inside last | the holder |
//! | `waiting` | somebody sleeps until there is no holder | 1: sleepers; 0: whoever stops being the holder |
//!
//! A user is one end in one process ([`Users`]); no two ever have the same name. Nobody else takes over from one of whom it
//! is not known whether it is dead.
//!
//! A leaner that has lost the lean may still write `busy` once before it finds out, which is why nobody else gets to
//! be the leaner before it has said that it knows, has closed the end, or is dead.

use std::{
    sync::atomic::{
        Ordering::{Acquire, Relaxed, Release, SeqCst},
        compiler_fence, fence,
    },
    time::Duration,
};

use kernel::futex::{self, Deadline, Wait};

use super::{layout::TurnWords, users::Users};
use crate::barrier;

/// What one handle of an end knows about its claim to it.
#[derive(Debug)]
pub(super) struct Claim {
    /// The user whose it is; as of `forks`.
    user: u64,
    forks: u32,
    /// The generation in which it became the leaner.
    leaning_since: u32,
    /// Turns taken without anybody else's in between.
    in_a_row: u32,
}

/// No generation of forks, no claim.
const NEVER: u32 = u32::MAX;

/// Turns in a row after which the half leans; then every power of two.
const ENOUGH: u32 = 16;

/// How long to sleep before asking whether whoever is waited for is still alive.
const NAP: Duration = Duration::from_millis(2);
const MOMENT: Duration = Duration::from_millis(1);
const SPINS: u32 = 200;

impl Default for Claim {
    fn default() -> Self {
        Self { user: 0, forks: NEVER, leaning_since: NEVER, in_a_row: 0 }
    }
}

impl Claim {
    /// Enters if the half leans towards this user; else see [`lock`](Self::lock).
    #[inline(always)]
    pub(super) fn enter<'a>(&mut self, words: &'a TurnWords) -> Option<Leaning<'a>> {
        // A forked child has inherited the claim, but is not the leaner.
        if self.leaning_since != barrier::forks() {
            return None;
        }
        words.busy.store(1, Relaxed);
        compiler_fence(SeqCst);
        let inside = Leaning(words);
        if words.lean.load(Relaxed) == self.user {
            return Some(inside);
        }
        drop(inside);
        self.stop_leaning(words);
        None
    }

    #[cold]
    fn stop_leaning(&mut self, words: &TurnWords) {
        self.leaning_since = NEVER;
        words.leaner.store(0, Release);
    }

    /// Waits for its turn until the deadline; `None` if that was over first.
    #[cold]
    pub(super) fn lock<'a>(
        &mut self,
        words: &'a TurnWords,
        users: &Users,
        deadline: Option<Deadline>,
    ) -> Option<Turn<'a>> {
        if !self.is_of_this_process() {
            barrier::register();
            *self = Self { user: users.me(), forks: barrier::forks(), ..Self::default() };
        }
        let has_inherited = become_holder(words, users, self.user, deadline)?;
        let turn = Turn(words);
        // Acquire: who gave the lean up had left before.
        if words.lean.swap(0, Acquire) != 0 || has_inherited {
            fence_everywhere();
        }
        wait_for_leaner(words, users, deadline)?;
        Some(turn)
    }

    /// Whether it has a user, and not in a process that this one was forked from.
    pub(super) fn is_of_this_process(&self) -> bool {
        self.forks == barrier::forks()
    }

    /// Whether another user was inside since this one was.
    pub(super) fn is_news_to(&self, turn: &Turn<'_>) -> bool {
        turn.0.last.load(Relaxed) != self.user
    }

    /// Notes that this user knows how things stand, and has the half lean towards it if it seems to be alone.
    pub(super) fn settle(&mut self, turn: &Turn<'_>, users: &Users) {
        let words = turn.0;
        let last = words.last.swap(self.user, Relaxed);
        self.in_a_row = if last == self.user { self.in_a_row.saturating_add(1) } else { 0 };
        let is_alone = last == 0 || self.in_a_row >= ENOUGH && self.in_a_row.is_power_of_two();
        if is_alone && barrier::register() {
            let leaner = words.leaner.load(Acquire);
            if users.is_gone(leaner) {
                words.leaner.store(self.user, Relaxed);
                words.busy.store(0, Relaxed);
                words.lean.store(self.user, Release);
                self.leaning_since = self.forks;
            }
        }
    }

    /// Whose it is, as others see it; never 0 once it has been inside.
    pub(super) fn user(&self) -> u64 {
        self.user
    }

    /// Gives back what the next user would otherwise have to take away.
    pub(super) fn give_up(&mut self, words: &TurnWords) {
        if self.leaning_since == barrier::forks() {
            // Whoever comes to lean does so when the lean is gone and there is no leaner: in this order.
            let _ = words.last.compare_exchange(self.user, 0, Relaxed, Relaxed);
            let _ = words.lean.compare_exchange(self.user, 0, Release, Relaxed);
            self.stop_leaning(words);
        }
    }
}

/// Becomes the holder; true if the former one died as such.
fn become_holder(words: &TurnWords, users: &Users, me: u64, deadline: Option<Deadline>) -> Option<bool> {
    let mut spins = 0;
    loop {
        let holder = match words.holder.compare_exchange(0, me, Acquire, Relaxed) {
            Ok(_) => return Some(false),
            Err(holder) => holder,
        };
        if spins < SPINS {
            spins += 1;
            std::hint::spin_loop();
            continue;
        }
        if deadline.is_some_and(|d| d.has_passed()) {
            return None;
        }
        words.waiting.store(1, Relaxed);
        fence(SeqCst);
        let nap = Deadline::after(deadline.map_or(NAP, |d| d.remaining().min(NAP)));
        if words.holder.load(Relaxed) == holder
            && futex::wait(&words.waiting, 1, nap) == Wait::TimedOut
            && users.is_gone(holder)
            && words.holder.compare_exchange(holder, me, Acquire, Relaxed).is_ok()
        {
            return Some(true);
        }
    }
}

/// Waits until whoever lost the lean is not inside any more.
fn wait_for_leaner(words: &TurnWords, users: &Users, deadline: Option<Deadline>) -> Option<()> {
    let mut spins = 0;
    while words.busy.load(Acquire) != 0 {
        if spins < SPINS {
            spins += 1;
            std::hint::spin_loop();
            continue;
        }
        if users.is_gone(words.leaner.load(Acquire)) {
            words.busy.store(0, Relaxed);
            break;
        }
        if deadline.is_some_and(|d| d.has_passed()) {
            return None;
        }
        // Rings no bell when it leaves, which would cost it something each time.
        std::thread::sleep(MOMENT);
    }
    Some(())
}

/// What the leaner stored before, all see after this; what it looks at later is what stands there now.
fn fence_everywhere() {
    if !barrier::heavy() {
        // This process alone may not ask the kernel. No processor holds a store back for so long.
        std::thread::sleep(MOMENT);
    }
}

/// Being inside, until dropped.
pub(super) enum Inside<'a> {
    Leaning(#[allow(dead_code, reason = "held")] Leaning<'a>),
    Turn(#[allow(dead_code, reason = "held")] Turn<'a>),
}

/// Being inside, until dropped, of the user that the half leans to.
pub(super) struct Leaning<'a>(&'a TurnWords);

impl Drop for Leaning<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.busy.store(0, Release);
    }
}

/// Being inside, until dropped, by turns.
pub(super) struct Turn<'a>(&'a TurnWords);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.holder.store(0, Release);
        fence(SeqCst);
        if self.0.waiting.load(Relaxed) != 0 {
            self.0.waiting.store(0, Relaxed);
            futex::wake(&self.0.waiting, u32::MAX);
        }
    }
}
