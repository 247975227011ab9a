//! [`Barrier`]: go on together.

use std::{
    panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind, resume_unwind},
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use crate::{BrokenBarrier, machine::Phase};

/// A point where so many threads wait for one another, again and again.
///
/// # Examples
/// ```
/// let start = sync::thread::Barrier::new(2);
/// std::thread::scope(|scope| {
///     let other = scope.spawn(|| start.wait().unwrap());
///     let mine = start.wait().unwrap();
///     assert_eq!(mine + other.join().unwrap(), 1);
/// });
/// ```
#[derive(Debug)]
pub struct Barrier {
    parties: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// How many have come and not left.
    inside: usize,
}

impl Barrier {
    /// Makes a barrier for so many parties.
    ///
    /// # Panics
    /// If there are none.
    pub const fn new(parties: u32) -> Self {
        assert!(parties > 0, "a barrier is for one party at least");
        let state = State { phase: Phase::Filling, inside: 0 };
        Self { parties: parties as usize, state: parking_lot::const_mutex(state), changed: Condvar::new() }
    }

    /// Sleeps until all parties have come. Each gets another number from 0 up, for whatever one alone should do.
    ///
    /// # Errors
    /// [`BrokenBarrier`] if it is broken, or is broken or reset meanwhile.
    pub fn wait(&self) -> Result<usize, BrokenBarrier> {
        self.wait_until(None, || ())
    }

    /// As [`wait`](Self::wait), but breaks the barrier for all if `timeout` passes first.
    ///
    /// # Errors
    /// [`BrokenBarrier`], as [`wait`](Self::wait), and then too.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize, BrokenBarrier> {
        self.wait_until(Instant::now().checked_add(timeout), || ())
    }

    /// As [`wait_timeout`](Self::wait_timeout), until `deadline`.
    ///
    /// # Errors
    /// As there.
    pub fn wait_deadline(&self, deadline: Instant) -> Result<usize, BrokenBarrier> {
        self.wait_until(Some(deadline), || ())
    }

    /// As [`wait`](Self::wait); the last to come calls `action`, and all are let go when that has returned. If it
    /// panics, the barrier is broken, and the panic goes on.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    #[doc(alias = "action")]
    pub fn wait_with(&self, action: impl FnOnce()) -> Result<usize, BrokenBarrier> {
        self.wait_until(None, action)
    }

    /// As [`wait_with`](Self::wait_with) and [`wait_timeout`](Self::wait_timeout) in one. The time for `action` does not
    /// count.
    ///
    /// # Errors
    /// As there.
    pub fn wait_timeout_with(&self, timeout: Duration, action: impl FnOnce()) -> Result<usize, BrokenBarrier> {
        self.wait_until(Instant::now().checked_add(timeout), action)
    }

    /// Breaks the barrier: those that wait or come later get an error until [`reset`](Self::reset).
    pub fn abort(&self) {
        self.change(|state| state.phase = Phase::Broken);
    }

    /// Puts the barrier back to its beginning; those that wait get an error.
    pub fn reset(&self) {
        self.change(|state| {
            if matches!(state.phase, Phase::Filling | Phase::Broken) {
                state.phase = if state.inside == 0 { Phase::Filling } else { Phase::Resetting };
            }
        });
    }

    /// For how many it is.
    pub fn parties(&self) -> usize {
        self.parties
    }

    /// How many wait now for others to come.
    pub fn n_waiting(&self) -> usize {
        let state = self.state.lock();
        if state.phase == Phase::Filling { state.inside } else { 0 }
    }

    /// Whether it is broken.
    #[doc(alias = "broken")]
    pub fn is_broken(&self) -> bool {
        self.state.lock().phase == Phase::Broken
    }

    fn wait_until(&self, deadline: Option<Instant>, action: impl FnOnce()) -> Result<usize, BrokenBarrier> {
        let index = self.come(deadline)?;
        let mut outcome = Ok(());
        if index + 1 == self.parties {
            outcome = catch_unwind(AssertUnwindSafe(action));
            let after = if outcome.is_ok() { Phase::Draining } else { Phase::Broken };
            self.change_if_filling(after);
        } else if !self.sleep_while(deadline, |state| state.phase == Phase::Filling) {
            self.change_if_filling(Phase::Broken);
        }
        let phase = self.leave();
        outcome.unwrap_or_else(|panic| resume_unwind(panic));
        if phase == Phase::Draining { Ok(index) } else { Err(BrokenBarrier) }
    }

    /// Waits until those of the round before have left.
    fn come(&self, deadline: Option<Instant>) -> Result<usize, BrokenBarrier> {
        loop {
            let mut state = self.state.lock();
            if state.phase == Phase::Broken {
                return Err(BrokenBarrier);
            }
            if state.phase == Phase::Filling && state.inside < self.parties {
                state.inside += 1;
                return Ok(state.inside - 1);
            }
            drop(state);
            let parties = self.parties;
            let is_shut = |state: &mut State| match state.phase {
                Phase::Broken => false,
                Phase::Filling => state.inside == parties,
                Phase::Draining | Phase::Resetting => true,
            };
            if !self.sleep_while(deadline, is_shut) {
                self.change_if_filling(Phase::Broken);
                return Err(BrokenBarrier);
            }
        }
    }

    fn leave(&self) -> Phase {
        let mut state = self.state.lock();
        let phase = state.phase;
        state.inside -= 1;
        if state.inside == 0 && phase != Phase::Broken {
            state.phase = Phase::Filling;
            self.changed.notify_all();
        }
        phase
    }

    fn change(&self, how: impl FnOnce(&mut State)) {
        how(&mut self.state.lock());
        self.changed.notify_all();
    }

    fn change_if_filling(&self, phase: Phase) {
        self.change(|state| {
            if state.phase == Phase::Filling {
                state.phase = phase;
            }
        });
    }

    /// Returns false once the deadline has passed and the condition holds still.
    fn sleep_while(&self, deadline: Option<Instant>, condition: impl Fn(&mut State) -> bool) -> bool {
        let mut state = self.state.lock();
        match deadline {
            None => self.changed.wait_while(&mut state, condition),
            Some(deadline) => {
                return !self.changed.wait_while_until(&mut state, condition, deadline).timed_out();
            }
        }
        true
    }
}

// What a panic interrupts is the user's; this is whole.
impl UnwindSafe for Barrier {}
impl RefUnwindSafe for Barrier {}
