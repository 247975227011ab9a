//! The turns of the service, for threads that wait for what it does.
//!
//! | word | meaning | which thread writes it |
//! |---|---|---|
//! | less than `GONE` | how many turns are over, modulo that | a thread that has done what others may wait for: the next number |
//! | `GONE` | the service and all workers are gone, for good | the service, last |
//!
//! A waiter reads the word, looks for what it waits for, and sleeps while the word is the same. The word is written with
//! `Release` after what it tells of, and read with `Acquire` before the look.

use std::{
    sync::atomic::{
        AtomicU32,
        Ordering::{Acquire, Relaxed, Release},
    },
    task::Waker,
};

use kernel::futex::{self, Deadline, Wait};

use crate::wakers::Wakers;

const GONE: u32 = u32::MAX;

#[derive(Default)]
pub(super) struct Turns {
    word: AtomicU32,
    /// The wakers to wake at the end.
    on_end: Wakers,
}

/// What a waiter has seen of the turns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn(u32);

impl Turn {
    pub(super) fn is_last(self) -> bool {
        self.0 == GONE
    }
}

impl Turns {
    /// To be read before the look for what is waited for.
    pub(super) fn now(&self) -> Turn {
        Turn(self.word.load(Acquire))
    }

    /// Sleeps until the next turn is over; false if the deadline has passed. May return true for no reason.
    pub(super) fn wait(&self, seen: Turn, deadline: Option<Deadline>) -> bool {
        futex::wait(&self.word, seen.0, deadline) != Wait::TimedOut
    }

    /// One turn is over.
    pub(super) fn next(&self) {
        let next = |turn: u32| (turn != GONE).then(|| turn.wrapping_add(1) % GONE);
        let _ = self.word.fetch_update(Release, Relaxed, next);
        futex::wake(&self.word, u32::MAX);
    }

    /// The last turn is over.
    pub(super) fn end(&self) {
        self.word.store(GONE, Release);
        futex::wake(&self.word, u32::MAX);
        self.on_end.wake_all();
    }

    /// Whether the last turn is over; if not, `waker` is woken once it is.
    pub(super) fn poll_end(&self, waker: &Waker) -> bool {
        self.on_end.poll(waker, || self.now().is_last())
    }

    /// Waits until the last turn is over (true), or the deadline has passed (false).
    pub(super) fn wait_for_end(&self, deadline: Option<Deadline>) -> bool {
        loop {
            let turn = self.now();
            if turn.is_last() {
                return true;
            }
            if !self.wait(turn, deadline) {
                return self.now().is_last();
            }
        }
    }
}
