//! Condition variables, events, semaphores and barriers with two slow users: a wake-up that one of them was given and
//! did not use does not leave the other asleep.

use sync::process::{Barrier, Event, Semaphore};
use test_support::step::Mark;

use super::super::{
    barrier::{barrier_works, set_up_barrier},
    sync::{
        BEGUN, DONE, Stock, acquire_one, condvar_works, conserved, event, event_works, hold, release_one, release_two,
        semaphore, stock, wait_for_stock,
    },
};
use crate::{
    ledger::Ledger,
    operation::{Operation, Role, Row, Verdict},
};

/// Counters: waits at a barrier that ended well, and with a report of a death.
const THROUGH: usize = 30;
const BROKEN: usize = 31;

pub(super) fn operations() -> Vec<Box<dyn Row>> {
    vec![
        condvar_waits(),
        condvar("pair/condvar/wait+notify_one", notify_one),
        condvar("pair/condvar/wait+notify_all", notify_all),
        event_wait_and_set(),
        event_set_and_clear(),
        acquires(),
        acquire_and_release(),
        barrier_waits(),
    ]
}

// ------------------------------------------------------------------------------------------------------ condvar

fn wait(stock: &Stock, _: &Ledger, _: &str, mark: &Mark) {
    mark.window(|| wait_for_stock(stock));
}

fn notify_one((lock, changed): &Stock, ledger: &Ledger, _: &str, mark: &Mark) {
    mark.window(|| {
        *hold(lock) += 1;
        changed.notify_one();
        ledger.add(DONE);
    });
}

fn notify_all((lock, changed): &Stock, ledger: &Ledger, _: &str, mark: &Mark) {
    mark.window(|| {
        *hold(lock) += 1;
        changed.notify_all();
        ledger.add(DONE);
    });
}

/// The third process only locks and unlocks.
fn lock_briefly((lock, _): &Stock, _: &Ledger, _: &str) -> Verdict {
    if let Err(died) = lock.try_lock() {
        died.get_ref().mark_consistent();
    }
    Ok(())
}

/// Two who wait; each helper adds to the stock and notifies one.
fn condvar_waits() -> Box<dyn Row> {
    let operation = Operation::new("pair/condvar/wait+wait", &["nobody"], stock, wait, |stock, ledger, _| {
        condvar_works(stock, ledger)
    });
    let operation = operation.beside(wait).only_pair().with(Role::Worker, lock_briefly);
    operation
        .with(Role::Helper, |(lock, changed), _, _| {
            *hold(lock) += 1;
            changed.notify_one();
            Ok(())
        })
        .boxed()
}

fn condvar(name: &'static str, notify: fn(&Stock, &Ledger, &str, &Mark)) -> Box<dyn Row> {
    let operation = Operation::new(name, &["nobody"], stock, wait, |stock, ledger, _| condvar_works(stock, ledger));
    let operation = operation.beside(notify).only_pair().with(Role::Worker, lock_briefly);
    operation
        .with(Role::Rescuer, |(lock, changed), ledger, _| {
            if ledger.get(DONE) > 0 {
                return Err("WEDGED: a notification that had been made woke nobody".into());
            }
            *hold(lock) += 1;
            changed.notify_all();
            Ok(())
        })
        .boxed()
}

// -------------------------------------------------------------------------------------------------------- event

fn set(event: &Event, ledger: &Ledger, _: &str, mark: &Mark) {
    mark.window(|| {
        event.set();
        ledger.add(DONE);
    });
}

fn event_wait_and_set() -> Box<dyn Row> {
    let wait: fn(&Event, &Ledger, &str, &Mark) = |event, _, _, mark| {
        mark.window(|| assert!(event.wait().expect("it is fit for waiting")));
    };
    let operation = Operation::new("pair/event/wait+set", &["unset"], event, wait, event_works);
    let operation = operation.beside(set).only_pair().with(Role::Worker, |event, ledger, _| {
        if ledger.get(DONE) > 0 && !event.is_set() { Err("it was set, and is not".into()) } else { Ok(()) }
    });
    operation
        .with(Role::Rescuer, |event, ledger, _| {
            if ledger.get(DONE) > 0 {
                return Err("WEDGED: asleep beside an event that is set".into());
            }
            event.set();
            Ok(())
        })
        .boxed()
}

/// Either may be the last.
fn event_set_and_clear() -> Box<dyn Row> {
    let set: fn(&Event, &Ledger, &str, &Mark) = |event, _, _, mark| mark.window(|| event.set());
    let operation = Operation::new("pair/event/set+clear", &["unset", "set"], event, set, event_works);
    let operation = operation.beside(|event, _, _, mark| mark.window(|| event.clear())).only_pair();
    operation
        .with(Role::Worker, |event, _, _| {
            let _ = event.is_set();
            Ok(())
        })
        .boxed()
}

// ---------------------------------------------------------------------------------------------------- semaphore

/// While everybody else stands still, a free permit can be had.
fn borrow_permit(semaphore: &Semaphore, _: &Ledger, _: &str) -> Verdict {
    let n_free = semaphore.permits();
    match semaphore.try_acquire() {
        None if n_free > 0 => Err(format!("{n_free} permits are free, and none can be had")),
        _ => Ok(()),
    }
}

fn acquires() -> Box<dyn Row> {
    let operation = Operation::new(
        "pair/semaphore/acquire+acquire",
        &["alone", "free"],
        semaphore,
        acquire_one,
        |s, ledger, state| conserved(s, ledger, if state == "free" { 2 } else { 0 }),
    );
    let operation = operation.beside(acquire_one).only_pair().with(Role::Worker, borrow_permit);
    operation.with(Role::Helper, |semaphore, ledger, _| release_one(semaphore, ledger)).boxed()
}

fn acquire_and_release() -> Box<dyn Row> {
    let operation =
        Operation::new("pair/semaphore/acquire+release", &["alone"], semaphore, acquire_one, |semaphore, ledger, _| {
            conserved(semaphore, ledger, 0)
        });
    let operation =
        operation.beside(|semaphore, ledger, _, mark| mark.window(|| release_two(semaphore, ledger))).only_pair();
    let operation = operation.with(Role::Worker, borrow_permit);
    operation
        .with(Role::Rescuer, |semaphore, ledger, _| {
            if semaphore.permits() > 0 {
                return Err("WEDGED: asleep beside a free permit".into());
            }
            release_one(semaphore, ledger)
        })
        .boxed()
}

// ------------------------------------------------------------------------------------------------------ barrier

fn wait_at_barrier(barrier: &Barrier, ledger: &Ledger, _: &str, mark: &Mark) {
    mark.window(|| {
        ledger.add(BEGUN);
        ledger.add(if barrier.wait().is_ok() { THROUGH } else { BROKEN });
    });
}

/// Two parties, and both are slow. If nobody dies, both come through.
fn barrier_waits() -> Box<dyn Row> {
    let operation = Operation::new(
        "pair/barrier/wait+wait",
        &["two"],
        set_up_barrier,
        wait_at_barrier,
        |barrier, ledger, state| {
            let (through, broken) = (ledger.get(THROUGH), ledger.get(BROKEN));
            if through + broken == 2 && broken > 0 {
                return Err(format!("nobody died, {through} came through, and for {broken} it was broken"));
            }
            barrier_works(barrier, ledger, state)
        },
    );
    let operation = operation.beside(wait_at_barrier).only_pair().with(Role::Worker, |barrier, _, _| {
        let n = barrier.n_waiting();
        if n <= barrier.parties() { Ok(()) } else { Err(format!("{n} wait at a barrier for {}", barrier.parties())) }
    });
    // The other one may have died before it came to the barrier.
    operation
        .with(Role::Rescuer, |barrier, _, _| {
            barrier.abort();
            Ok(())
        })
        .boxed()
}
