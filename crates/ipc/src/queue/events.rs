//! Waiting: a short spin, then sleep on an event count.
//!
//! An event count is one futex word.
//!
//! | bits | meaning |
//! |---|---|
//! | 0 | there is a sleeper, or one is about to sleep |
//! | 1.. | sequence: changes with each wake-up |
//!
//! A sleeper sets bit 0, looks once more, and sleeps while the word stays as it is; woken, it looks before it does so
//! again. After its swap, a putter or getter looks at bit 0, clears it, steps the sequence and wakes two. If two were
//! asleep it sets bit 0 again, for there may be more; a woken thread that sees more work wakes the next. A sleeper killed
//! after it was woken takes that wake-up with it: that is why two are woken, and why none sleeps longer than [`RECHECK`]
//! without another look.

use std::{
    sync::atomic::Ordering::{Acquire, Relaxed},
    time::Duration,
};

use kernel::futex::{self, Deadline, Wait};

use super::{
    patience::Patience,
    raw::Raw,
    ring::{Dequeue, Enqueue, Locate, Ring, SLEEPERS, Side, Stop},
};

/// The longest sleep without a look: bounds what a killed process can do to others.
const RECHECK: Duration = Duration::from_millis(40);

/// How many messages a waiter lets a peer get ahead.
const AHEAD: u64 = 16;

impl Raw {
    /// Repeats `attempt` until it succeeds, fails for good, or patience ends; then returns why it stopped last.
    #[inline]
    pub(crate) fn patiently<R>(
        &self,
        side: Side,
        patience: Patience,
        mut attempt: impl FnMut() -> Result<R, Stop>,
    ) -> Result<R, Stop> {
        self.check()?;
        match attempt() {
            Err(Stop::WouldBlock) => self.wait(side, patience, attempt),
            done => done,
        }
    }

    #[cold]
    fn wait<R>(&self, side: Side, patience: Patience, mut attempt: impl FnMut() -> Result<R, Stop>) -> Result<R, Stop> {
        let deadline = match patience {
            Patience::Now => return Err(Stop::WouldBlock),
            Patience::For(time) => Deadline::after(time),
            Patience::Forever => None,
        };
        let spin = &self.spin[side as usize];
        let mut waited = false;
        let found = spin.until(|| {
            if !waited && self.has_any(side) {
                waited = true;
                spin.let_ahead(|| self.has_ahead(side));
            }
            match attempt() {
                Err(Stop::WouldBlock) => None,
                done => Some(done),
            }
        });
        if let Some(done) = found {
            return done;
        }
        let event = self.event(side);
        let mut quiet = false;
        loop {
            let seen = self.announce(side);
            match attempt() {
                Err(Stop::WouldBlock) => {}
                done => {
                    self.pass_on_wake(side);
                    return done;
                }
            }
            if deadline.is_some_and(|deadline| deadline.has_passed()) {
                return Err(Stop::WouldBlock);
            }
            let sleep = deadline.filter(|deadline| deadline.remaining() < RECHECK);
            let woken = futex::wait(event, seen, sleep.or_else(|| Deadline::after(RECHECK)));
            if woken == Wait::TimedOut {
                self.collect_garbage(!quiet);
                quiet = true;
            }
        }
    }

    /// Whether there is something to do on that side, as far as the hint tells.
    fn has_any(&self, side: Side) -> bool {
        self.look_ahead(side, 0)
    }

    /// Whether there is so much to do that the other side works elsewhere.
    fn has_ahead(&self, side: Side) -> bool {
        self.look_ahead(side, AHEAD.min(u64::from(self.positions().capacity) / 2))
    }

    fn look_ahead(&self, side: Side, n: u64) -> bool {
        // Acquire: as in `Ring::find`.
        let position = self.positions().advance(self.hint(side).load(Acquire), n);
        position.and_then(|position| self.look(position)).is_some_and(|spot| match side {
            Side::Items => spot.is_ready(),
            Side::Space => spot.is_open(),
        })
    }

    /// A woken thread wakes the next one if there is more to do than it does itself.
    fn pass_on_wake(&self, side: Side) {
        let more = match side {
            Side::Items => self.has_none() == Ok(false),
            Side::Space => self.has_room() == Ok(()),
        };
        // Relaxed: the bit is set by a sleeper that looks after that; should this miss it, that look does not.
        if more && self.event(side).load(Relaxed) & SLEEPERS != 0 {
            self.wake_one(side);
        }
    }

    /// Closes the queue, unless its memory is damaged.
    pub(crate) fn close(&self) {
        if Enqueue::close(self).is_ok() {
            self.wake_all(&self.segment.header().done);
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        Enqueue::is_closed(self).unwrap_or(true)
    }
}
