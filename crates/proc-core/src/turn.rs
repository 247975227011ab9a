//! One thread at a time calls what the program gave us to call beside its own threads: its logger, its callbacks for output.
//!
//! A waiter for the turn waits as long as the holder makes progress, and no longer than [`PATIENCE`] beyond that: a logger
//! may hang, or wait for a lock that the waiter holds. A fork waits for the turn, too, so that no child is made with the
//! program's logger locked for ever.

use std::{
    cell::Cell,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::lock::lock;
use kernel::{at_fork, fork_local::ForkLocal};

/// How long the holder of the turn may take for one call before others go on without it.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Turns {
    state: Mutex<TurnState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct TurnState {
    is_taken: bool,
    /// Waiters, the first first.
    queue: VecDeque<u64>,
    n_tickets: u64,
    /// Calls that have come back.
    n_calls: u64,
}

static TURNS: ForkLocal<Turns> = ForkLocal::new();
/// Whether a thread has ever had the turn. Orders nothing.
static IS_USED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The generation of forks in which this thread took the turn that it has.
    static MINE: Cell<Option<u32>> = const { Cell::new(None) };
}

/// The turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(&'static Turns);

/// What came of waiting for the turn.
#[derive(Debug)]
pub(crate) enum Waited {
    Turn(Turn),
    /// The calling thread has it: it is inside a call.
    Mine,
    /// Another thread has it, and makes no progress.
    Stuck,
}

/// Waits for the turn.
pub(crate) fn take() -> Waited {
    if MINE.get() == Some(at_fork::generation()) {
        return Waited::Mine;
    }
    IS_USED.store(true, Relaxed);
    let turns = TURNS.get();
    let mut state = lock(&turns.state);
    let ticket = state.n_tickets;
    state.n_tickets += 1;
    state.queue.push_back(ticket);
    let mut seen = state.n_calls;
    while state.is_taken || state.queue.front() != Some(&ticket) {
        let (woken, waited) = wait(turns, state);
        state = woken;
        if waited && state.n_calls == seen {
            state.queue.retain(|waiting| *waiting != ticket);
            turns.changed.notify_all();
            return Waited::Stuck;
        }
        seen = state.n_calls;
    }
    state.queue.pop_front();
    state.is_taken = true;
    MINE.set(Some(at_fork::generation()));
    Waited::Turn(Turn(turns))
}

fn wait<'a>(turns: &'a Turns, state: MutexGuard<'a, TurnState>) -> (MutexGuard<'a, TurnState>, bool) {
    let (state, waited) = turns.changed.wait_timeout(state, PATIENCE).unwrap_or_else(PoisonError::into_inner);
    (state, waited.timed_out())
}

/// For a fork: as [`take`], if a thread has ever had the turn. To be given back by [`Turn::forget_in_child`] in the child.
pub(crate) fn take_to_fork() -> Waited {
    if IS_USED.load(Relaxed) { take() } else { Waited::Mine }
}

impl Turn {
    /// Calls what the program gave us. The panic hook reports a panic of it, which concerns that call alone.
    pub(crate) fn call(&self, f: impl FnOnce()) {
        let _ = catch_unwind(AssertUnwindSafe(f));
        lock(&self.0.state).n_calls += 1;
    }

    /// In a forked child, whose turns are others: what this would change is a copy, in whatever state.
    pub(crate) fn forget_in_child(self) {
        std::mem::forget(self);
        MINE.set(None);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.is_taken = false;
        state.n_calls += 1;
        drop(state);
        MINE.set(None);
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // One test: the turn is the process's.
    #[test]
    fn one_at_a_time_and_who_does_not_get_on_is_not_waited_for() {
        let Waited::Turn(turn) = take() else { panic!("nobody has it") };
        assert!(matches!(take(), Waited::Mine));
        let other = std::thread::spawn(|| matches!(take(), Waited::Turn(_)));
        while lock(&turn.0.state).queue.is_empty() {
            std::thread::yield_now();
        }
        drop(turn);
        assert!(other.join().unwrap());

        let Waited::Turn(_turn) = take() else { panic!("nobody has it") };
        let other = std::thread::spawn(|| matches!(take(), Waited::Stuck));
        assert!(other.join().unwrap());
    }
}
