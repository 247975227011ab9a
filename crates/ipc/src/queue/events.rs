//! Waiting: a short spin, then sleep on an event count.
//!
//! An event count is one futex word.
//!
//! | bits | meaning |
//! |---|---|
//! | 0 | somebody sleeps, or is about to |
//! | 1, 2 | (items) the queue is closing, is closed |
//! | 3.. | sequence: changes with each wake-up |
//!
//! A sleeper sets bit 0, passes the heavy barrier, looks once more, and sleeps while the word stays as it is; woken, it
//! looks before it does so again. A publisher publishes, passes the light barrier, and on bit 0 clears it, steps the
//! sequence and wakes two. If two were asleep it sets bit 0 again, for there may be more; who was woken and sees more
//! work wakes the next. A sleeper killed after it was woken takes that wake-up with it: that is why two are woken, and
//! why nobody sleeps longer than [`RECHECK`] without another look.

use std::{
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed},
    time::Duration,
};

use proc_core::futex::{self, Deadline, Wait};

use super::{
    barrier,
    protocol::{CLOSED, CLOSING, Ring, SLEEPERS, Side, Stop},
    ring::Raw,
};

/// The longest sleep without a look: bounds what a killed process can do to others.
const RECHECK: Duration = Duration::from_millis(40);
/// Tries of those who do not wait, before they pass over slow writers.
const PATIENCE: u32 = 100;

/// How long an operation may take.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    Now,
    For(Duration),
    Forever,
}

impl Raw {
    /// Repeats `attempt` until it goes ahead, fails for good, or patience ends: then with why it stopped last.
    #[inline]
    pub(crate) fn patiently<R>(
        &self,
        side: Side,
        patience: Patience,
        mut attempt: impl FnMut(bool) -> Result<R, Stop>,
    ) -> Result<R, Stop> {
        match attempt(false) {
            Err(Stop::Level) if matches!(patience, Patience::Now) => Err(Stop::Level),
            Err(Stop::Level | Stop::Held(..)) => self.wait(side, patience, attempt),
            done => done,
        }
    }

    #[cold]
    fn wait<R>(
        &self,
        side: Side,
        patience: Patience,
        mut attempt: impl FnMut(bool) -> Result<R, Stop>,
    ) -> Result<R, Stop> {
        let deadline = match patience {
            Patience::Now => return self.insist(attempt),
            Patience::For(time) => Deadline::after(time),
            Patience::Forever => None,
        };
        let found = self.spin[side as usize].until(|patient| match attempt(patient) {
            Err(Stop::Level | Stop::Held(..)) => None,
            done => Some(done),
        });
        if let Some(done) = found {
            return done;
        }
        let event = self.event(side);
        let mut announced = None;
        let mut quiet = false;
        loop {
            match attempt(true) {
                Err(Stop::Held(slot, word)) if announced.is_some() && self.settle_if_dead(slot, word) => continue,
                Err(stop @ (Stop::Level | Stop::Held(..))) => {
                    if announced.is_some() && deadline.is_some_and(|deadline| deadline.has_passed()) {
                        return Err(stop);
                    }
                }
                done => {
                    self.pass_on(side);
                    return done;
                }
            }
            let Some(seen) = announced.take() else {
                announced = Some(self.announce(side));
                barrier::heavy();
                continue;
            };
            let sleep = deadline.filter(|deadline| deadline.remaining() < RECHECK);
            let woken = futex::wait(event, seen, sleep.or_else(|| Deadline::after(RECHECK)));
            if woken == Wait::TimedOut {
                self.keep_house(!quiet);
                quiet = true;
            }
        }
    }

    /// For those who do not wait: tries as long as another process needs to finish what it is at, and looks whether
    /// it still lives.
    fn insist<R>(&self, mut attempt: impl FnMut(bool) -> Result<R, Stop>) -> Result<R, Stop> {
        for n in 0..2 * PATIENCE {
            std::hint::spin_loop();
            match attempt(n > PATIENCE) {
                Err(Stop::Held(..)) => {}
                done => return done,
            }
        }
        loop {
            match attempt(true) {
                Err(Stop::Held(slot, word)) if self.may_look_at(word) && self.settle_if_dead(slot, word) => {}
                done => return done,
            }
        }
    }

    /// One who was woken wakes the next if there is more to do than it does itself.
    fn pass_on(&self, side: Side) {
        let event = self.event(side);
        let more = match side {
            Side::Items => !self.is_empty(),
            Side::Space => !self.is_full(),
        };
        if more && event.load(Relaxed) & SLEEPERS != 0 {
            self.wake_one(side);
        }
    }

    // ---------------------------------------------------------------------------------------------- closing

    /// Closes the queue; also finishes the closing that another process began and was killed in.
    pub(crate) fn close(&self) {
        let header = self.segment.header();
        header.items.fetch_or(CLOSING, AcqRel);
        // From here on every putter sees the mark before it returns, and takes its message out again.
        barrier::heavy();
        header.items.fetch_or(CLOSED, AcqRel);
        self.wake_all(&header.items);
        self.wake_all(&header.space);
        self.wake_all(&header.done);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.segment.header().items.load(Acquire) & (CLOSING | CLOSED) != 0
    }
}
