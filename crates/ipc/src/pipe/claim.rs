//! Which process uses one half of an end: one at a time, as the [`TurnWords`] say.
//!
//! Nearly always it is the same process, so the half is biased towards it: that process marks itself `busy` and checks
//! whether the bias is still its own, both with plain accesses. Another process revokes the bias, makes all processors run
//! a fence, and waits until `busy` is 0 again. From then on both take turns. A user that takes turns alone for a while gets
//! the bias again.
//!
//! | word | meaning | who may move it |
//! |---|---|---|
//! | `holder` | the user whose turn it is, or 0 | 0 or a dead user to itself: any user; to 0: the holder |
//! | `bias` | the user that needs no turn, or 0 | the holder; to 0: its user, when it closes the end |
//! | `biased` | the user that may write `busy`, or 0 | 0 or the dead to itself: the holder; to 0: that user |
//! | `busy` | the biased user is inside | the biased user; to 0 once it is dead or has acknowledged: the holder |
//! | `last` | the user that was inside last | the holder; to 0: that user, when it closes the end |
//! | `waiting` | a process sleeps until there is no holder | 1: sleepers; 0: the holder that leaves |
//! | `refused` | 1 once a user of this half was refused `membarrier(2)` | 1: any user |
//!
//! A user is one end in one process ([`Users`]); no two ever have the same name. No user takes over from another one unless
//! that one is known to be dead.
//!
//! A user that has lost its bias may still write `busy` once before it finds out. So no other user becomes `biased` before
//! that user has acknowledged (`biased = 0`), has closed the end, or is dead.
//!
//! # Without `membarrier`
//! The kernel may refuse it to one process and not to another (a filter of system calls). A process that is refused says
//! so in `refused`, and no user gets the bias from then on: all take turns, with fences of their own. A user may have it
//! already. The refused process cannot revoke that bias: it asks (`bias = 0`) and waits until the biased user has
//! acknowledged, which that user does at its next operation. If no acknowledgement comes, the bias is put back, so that the
//! next to have the turn revokes it again, and the caller gets [`Blocked::Refused`].

use std::{
    sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst},
    time::Duration,
};

use super::{biased::Blocked, turn::TurnWords, users::Users};
use crate::{
    barrier,
    platform::{
        SPINS, fence,
        futex::{self, Deadline, Wait},
        light_fence, sleep, spin_loop,
    },
};

/// What one handle of an end knows about its claim to it.
#[derive(Debug)]
pub(super) struct Claim {
    /// The user whose it is; as of `forks`.
    user: u64,
    forks: u32,
    /// The generation in which it got the bias.
    biased_since: u32,
    /// Turns taken without those of other users in between.
    in_a_row: u32,
}

/// No generation of forks, no claim.
const NEVER: u32 = u32::MAX;

/// Turns in a row after which the half gets biased; then every power of two.
const ENOUGH: u32 = 16;

/// How long to sleep before asking whether the user that is waited for is still alive.
const NAP: Duration = Duration::from_millis(2);
const MOMENT: Duration = Duration::from_millis(1);

/// How long to wait for an acknowledgement at most: a user that is busy with the pipe gives it within microseconds.
const GRACE: Duration = Duration::from_millis(100);

impl Default for Claim {
    fn default() -> Self {
        Self { user: 0, forks: NEVER, biased_since: NEVER, in_a_row: 0 }
    }
}

impl Claim {
    /// Enters if the half is biased towards this user; else see [`lock`](Self::lock).
    #[inline(always)]
    pub(super) fn enter<'a>(&mut self, words: &'a TurnWords) -> Option<BiasedTurn<'a>> {
        // A forked child has inherited the claim, but not the bias.
        if self.biased_since != barrier::forks() {
            return None;
        }
        // Relaxed, and in this order for a user that revokes the bias and then makes all processors run a fence: it sees
        // `busy`, or this sees that the bias is gone.
        words.busy.store(1, Relaxed);
        light_fence();
        let inside = BiasedTurn(words);
        if words.bias.load(Relaxed) == self.user {
            return Some(inside);
        }
        drop(inside);
        self.acknowledge(words);
        None
    }

    /// Says that this user writes `busy` no more.
    #[cold]
    fn acknowledge(&mut self, words: &TurnWords) {
        self.biased_since = NEVER;
        // Release: a user that sees it sees what this user did inside.
        words.biased.store(0, Release);
    }

    /// Waits for its turn until the deadline.
    #[cold]
    pub(super) fn lock<'a>(
        &mut self,
        words: &'a TurnWords,
        users: &Users,
        deadline: Option<Deadline>,
    ) -> Result<Turn<'a>, Blocked> {
        if !self.is_of_this_process() {
            if !barrier::register() {
                // Relaxed: it only spares others a bias that this process could not revoke.
                words.refused.store(1, Relaxed);
            }
            *self = Self { user: users.me(), forks: barrier::forks(), ..Self::default() };
        }
        let has_inherited = become_holder(words, users, self.user, deadline)?;
        let turn = Turn(words);
        revoke(words, users, deadline, has_inherited)?;
        Ok(turn)
    }

    /// Whether it has a user, and not in a process that this one was forked from.
    pub(super) fn is_of_this_process(&self) -> bool {
        self.forks == barrier::forks()
    }

    /// Whether another user was inside since this one was.
    pub(super) fn is_news_to(&self, turn: &Turn<'_>) -> bool {
        // Relaxed: written by holders, from whom `holder` was acquired.
        turn.0.last.load(Relaxed) != self.user
    }

    /// Notes that this user has read the current state, and biases the half towards it if it seems to be alone.
    pub(super) fn settle(&mut self, turn: &Turn<'_>, users: &Users) {
        let words = turn.0;
        // Relaxed, as all of these: the next to have the turn acquires them with `holder`.
        let last = words.last.swap(self.user, Relaxed);
        self.in_a_row = if last == self.user { self.in_a_row.saturating_add(1) } else { 0 };
        let is_alone = last == 0 || self.in_a_row >= ENOUGH && self.in_a_row.is_power_of_two();
        if is_alone && words.refused.load(Relaxed) == 0 && barrier::register() {
            // Acquire: what the former one did inside is seen.
            let biased = words.biased.load(Acquire);
            if users.is_gone(biased) {
                words.biased.store(self.user, Relaxed);
                words.busy.store(0, Relaxed);
                words.bias.store(self.user, Relaxed);
                self.biased_since = self.forks;
            }
        }
    }

    /// Which user it is, as others see it; never 0 once it has been inside.
    pub(super) fn user(&self) -> u64 {
        self.user
    }

    /// Gives back what the next user would otherwise have to revoke.
    pub(super) fn give_up(&mut self, words: &TurnWords) {
        if self.biased_since == barrier::forks() {
            // A user gets the bias when it is free and no user is `biased`: in this order.
            let _ = words.last.compare_exchange(self.user, 0, Relaxed, Relaxed);
            // Release: a user that finds no bias sees what this user did inside.
            let _ = words.bias.compare_exchange(self.user, 0, Release, Relaxed);
            self.acknowledge(words);
        }
    }
}

/// Becomes the holder; true if the former one died as such.
fn become_holder(words: &TurnWords, users: &Users, me: u64, deadline: Option<Deadline>) -> Result<bool, Blocked> {
    let mut spins = 0;
    loop {
        // Acquire: what former holders did is seen.
        let holder = match words.holder.compare_exchange(0, me, Acquire, Relaxed) {
            Ok(_) => return Ok(false),
            Err(holder) => holder,
        };
        if spins < SPINS {
            spins += 1;
            spin_loop();
            continue;
        }
        if deadline.is_some_and(|d| d.has_passed()) {
            return Err(Blocked::TimedOut);
        }
        words.waiting.store(1, Relaxed);
        // Pairs with that of the holder that leaves: it sees `waiting`, or this sees that there is no holder.
        fence(SeqCst);
        let nap = Deadline::after(deadline.map_or(NAP, |d| d.remaining().min(NAP)));
        if words.holder.load(Relaxed) == holder
            && futex::wait(&words.waiting, 1, nap) == Wait::TimedOut
            && users.is_gone(holder)
            && words.holder.compare_exchange(holder, me, Acquire, Relaxed).is_ok()
        {
            return Ok(true);
        }
    }
}

/// Takes the bias away from the user that has it, and waits until that user is outside.
fn revoke(words: &TurnWords, users: &Users, deadline: Option<Deadline>, has_inherited: bool) -> Result<(), Blocked> {
    // Acquire: a user that gave the bias up had left before.
    let is_revoked = words.bias.swap(0, Acquire) != 0;
    // A holder that died may have come no further than the swap.
    if !is_revoked && !has_inherited || barrier::heavy() {
        return wait_until_outside(words, users, deadline);
    }
    words.refused.store(1, Relaxed);
    let acknowledged = wait_for_acknowledgement(words, users, deadline);
    if acknowledged.is_err() {
        // Acquire: should it have acknowledged by now, the next to have the turn sees what it did inside.
        words.bias.store(words.biased.load(Acquire), Relaxed);
    }
    acknowledged
}

/// Waits until the user whose bias was revoked, with a fence, is outside.
fn wait_until_outside(words: &TurnWords, users: &Users, deadline: Option<Deadline>) -> Result<(), Blocked> {
    let mut spins = 0;
    // Acquire: what was done inside is seen.
    while words.busy.load(Acquire) != 0 {
        if spins < SPINS {
            spins += 1;
            spin_loop();
            continue;
        }
        if users.is_gone(words.biased.load(Acquire)) {
            words.busy.store(0, Relaxed);
            break;
        }
        if deadline.is_some_and(|d| d.has_passed()) {
            return Err(Blocked::TimedOut);
        }
        // A user that leaves wakes no waiter, as that would cost it something each time.
        sleep(MOMENT);
    }
    Ok(())
}

/// Waits until the user whose bias was revoked, without a fence, has said that it knows.
fn wait_for_acknowledgement(words: &TurnWords, users: &Users, deadline: Option<Deadline>) -> Result<(), Blocked> {
    let grace = Deadline::after(GRACE);
    let has_passed = |d: Option<Deadline>| d.is_some_and(|d| d.has_passed());
    // Acquire: what it did inside is seen.
    while !users.is_gone(words.biased.load(Acquire)) {
        if has_passed(deadline) || has_passed(grace) {
            return Err(Blocked::Refused);
        }
        sleep(MOMENT);
    }
    // It writes this no more.
    words.busy.store(0, Relaxed);
    Ok(())
}

/// Being inside, until dropped.
pub(super) enum Inside<'a> {
    Biased(#[allow(dead_code, reason = "held")] BiasedTurn<'a>),
    Turn(#[allow(dead_code, reason = "held")] Turn<'a>),
}

/// Being inside, until dropped, of the user that the half is biased towards.
pub(super) struct BiasedTurn<'a>(&'a TurnWords);

impl Drop for BiasedTurn<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // Release: a user that sees the 0 sees what was done inside.
        self.0.busy.store(0, Release);
    }
}

/// Being inside, until dropped, by turns.
pub(super) struct Turn<'a>(&'a TurnWords);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Release: the next holder sees what this one did.
        self.0.holder.store(0, Release);
        // Pairs with that of a process that is about to sleep.
        fence(SeqCst);
        if self.0.waiting.load(Relaxed) != 0 {
            self.0.waiting.store(0, Relaxed);
            futex::wake(&self.0.waiting, u32::MAX);
        }
    }
}
