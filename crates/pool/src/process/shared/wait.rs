//! Waiting for what the service and the workers do: for a result, for the workers' start, for the pool's end.

use std::{sync::atomic::Ordering::Relaxed, task::Waker};

use kernel::futex::Deadline;

use super::{MAX_SPINS, Shared};
use crate::PoolError;

const MIN_SPINS: u32 = 32;
/// A worker may be waiting for this very CPU.
const SPINS_TO_A_YIELD: u32 = 16;

impl Shared {
    /// Looks for results for a little while, until `done` (true).
    pub(in super::super) fn help(&self, done: &dyn Fn() -> bool) -> bool {
        if done() {
            return true;
        }
        {
            let mut state = self.state.lock();
            if state.needs_all_cpus(self.n_cpus) {
                drop(state);
                self.pump(true);
                return done();
            }
            state.begin_help();
        }
        let spins = self.spins.load(Relaxed);
        let found = (1..=spins).any(|spin| {
            self.pump(true);
            if spin % SPINS_TO_A_YIELD == 0 {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
            done()
        });
        let spins = if found { (spins * 2).min(MAX_SPINS) } else { (spins / 2).max(MIN_SPINS) };
        self.spins.store(spins, Relaxed);
        let more = self.state.lock().end_help();
        if more || !self.inbox.is_empty() {
            self.pump(true);
        }
        done()
    }

    /// One turn of the service is over, or something else has happened that a thread may be waiting for.
    pub(in super::super) fn turned(&self) {
        self.turns.next();
    }

    pub(in super::super) fn gone(&self) {
        self.turns.end();
    }

    /// Whether the service and all workers are gone; if not, `waker` is woken once they are.
    pub(in super::super) fn poll_gone(&self, waker: &Waker) -> bool {
        self.turns.poll_end(waker)
    }

    /// Waits until every worker has run its initializer.
    pub(in super::super) fn wait_started(&self) -> Result<(), PoolError> {
        loop {
            let turn = self.turns.now();
            {
                let state = self.state.lock();
                if let Some(why) = state.broken() {
                    return Err(why.clone());
                }
                if state.has_started() {
                    return Ok(());
                }
            }
            self.turns.wait(turn, None);
        }
    }

    /// Waits until all workers are gone, or there is nothing to do but what the calling thread has to read first.
    pub(in super::super) fn wait_joined(&self) {
        self.state.lock().begin_join();
        loop {
            let turn = self.turns.now();
            let waits_for_me = || {
                let state = self.state.lock();
                !state.is_dismissed() && self.is_idle(&state) && self.inputs.all_wait_for_this_thread()
            };
            let waits_for_me = !self.inputs.is_empty() && waits_for_me();
            self.looked();
            if turn.is_last() || waits_for_me {
                break;
            }
            self.turns.wait(turn, None);
        }
        self.state.lock().end_join();
    }

    /// Waits until the service and all workers are gone (true), or the deadline has passed (false).
    pub(in super::super) fn wait_gone(&self, deadline: Option<Deadline>) -> bool {
        self.turns.wait_for_end(deadline)
    }
}
