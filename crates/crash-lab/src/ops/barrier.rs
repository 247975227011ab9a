//! `sync::process::Barrier`: nobody waits for the dead.

use std::time::Duration;

use sync::process::Barrier;
use test_support::step::Mark;

use super::sync::{DONE, waiters_are_back};
use crate::{
    cast::patience,
    ledger::Ledger,
    operation::{Operation, Role, Row, Verdict},
};

pub(crate) fn operations() -> Vec<Box<dyn Row>> {
    vec![wait_last(), wait_first()]
}

pub(super) fn set_up_barrier(state: &str, _: &Ledger) -> Barrier {
    Barrier::new(if ["alone", "waiter", "two"].contains(&state) { 2 } else { 3 })
        .expect("there is memory for a barrier")
}

pub(super) fn wait_at_barrier(barrier: &Barrier, ledger: &Ledger, _: &str) -> Verdict {
    ledger.falls_asleep();
    // Whether all came or somebody died, it is over.
    let _ = barrier.wait();
    ledger.wakes_up();
    Ok(())
}

fn barrier_victim(barrier: &Barrier, ledger: &Ledger, _: &str, mark: &Mark) {
    mark.window(|| {
        let through = barrier.wait();
        ledger.add(DONE);
        assert!(through.is_ok(), "all came, and nobody died");
    });
}

/// Nobody waits for the dead, and after a reset it is as new.
pub(super) fn barrier_works(barrier: &Barrier, ledger: &Ledger, state: &str) -> Verdict {
    if state.starts_with("waiter") && !ledger.all_wake_up(Duration::from_millis(150)) {
        // The victim died before it came; nobody but the living can know of it.
        barrier.abort();
    }
    waiters_are_back(ledger)?;
    barrier.reset();
    if barrier.is_broken() || barrier.n_waiting() != 0 {
        return Err(format!("after a reset: {} wait, broken: {}", barrier.n_waiting(), barrier.is_broken()));
    }
    std::thread::scope(|scope| {
        let others: Vec<_> =
            (1..barrier.parties()).map(|_| scope.spawn(|| barrier.wait_timeout(patience() / 3))).collect();
        let mut places = vec![barrier.wait_timeout(patience() / 3)];
        places.extend(others.into_iter().filter_map(|other| other.join().ok()));
        let mut places =
            places.into_iter().collect::<Result<Vec<_>, _>>().map_err(|e| format!("after a reset: {e}"))?;
        places.sort_unstable();
        if places.iter().copied().eq(0..barrier.parties()) { Ok(()) } else { Err(format!("places {places:?}")) }
    })
}

fn reset(barrier: &Barrier, _: &Ledger, _: &str, mark: &Mark) {
    mark.window(|| barrier.reset());
}

/// The victim comes last.
fn wait_last() -> Box<dyn Row> {
    let operation =
        Operation::new("barrier/wait-last", &["waiter", "waiters"], set_up_barrier, barrier_victim, barrier_works);
    operation.recoverer(reset).with(Role::Waiter, wait_at_barrier).boxed()
}

/// The victim comes first and sleeps.
fn wait_first() -> Box<dyn Row> {
    let operation =
        Operation::new("barrier/wait-first", &["alone", "then-waiter"], set_up_barrier, barrier_victim, barrier_works);
    let operation = operation.with(Role::Helper, |barrier, _, _| {
        let _ = barrier.wait();
        Ok(())
    });
    operation.recoverer(reset).with(Role::Waiter, wait_at_barrier).boxed()
}
