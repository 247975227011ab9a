//! Forms of the locks and waits that have no row of their own elsewhere: permits that are tried for, guards that are
//! forgotten, conditions that are waited for, and barriers that are broken and mended.

use std::{cell::Cell, time::Duration};

use sync::process::{Barrier, Permit, RLock, Semaphore};
use test_support::step::Mark;

use super::{
    barrier::{barrier_works, set_up_barrier, wait_at_barrier},
    lock::{self, Pair},
    sync::{BEGUN, DONE, Stock, condvar_works, conserved, hold, release_one, semaphore, stock},
};
use crate::{
    ledger::Ledger,
    operation::{Operation, Role, Row, Verdict},
};

const SHORT: Duration = Duration::from_millis(2);

pub(crate) fn operations() -> Vec<Box<dyn Row>> {
    vec![
        permits("semaphore/try_acquire", |semaphore, ledger, _, mark| {
            mark.window(|| {
                ledger.add(BEGUN);
                note(ledger, semaphore.try_acquire());
            });
        }),
        permits("semaphore/acquire_timeout", |semaphore, ledger, _, mark| {
            mark.window(|| {
                ledger.add(BEGUN);
                note(ledger, semaphore.acquire_timeout(SHORT));
            });
        }),
        forget_and_release(),
        wait_while(),
        barrier_call("barrier/abort", Barrier::abort),
        barrier_call("barrier/reset", Barrier::reset),
    ]
}

/// A permit is had, or not; none is lost but with the dead.
fn permits(name: &'static str, victim: fn(&Semaphore, &Ledger, &str, &Mark)) -> Box<dyn Row> {
    let operation = Operation::new(name, &["free", "none"], semaphore, victim, |semaphore, ledger, state| {
        // A call that came back without a permit counts among those that have one.
        let at_first = if state == "free" { 2 } else { 0 };
        conserved(semaphore, ledger, at_first + ledger.get(NOT_HAD))?;
        release_one(semaphore, ledger)?;
        if semaphore.try_acquire().is_some() {
            Ok(())
        } else {
            Err("a permit was released, and none can be had".into())
        }
    });
    operation.recoverer(victim).boxed()
}

fn note(ledger: &Ledger, permit: Option<Permit<'_>>) {
    match permit {
        Some(permit) => permit.forget(),
        None => ledger.add(NOT_HAD),
    }
    ledger.add(DONE);
}

/// Counter: calls that came back without a permit.
const NOT_HAD: usize = 6;

/// A guard is forgotten, and the lock released by name.
fn forget_and_release() -> Box<dyn Row> {
    type Lock = RLock<Cell<Pair>>;
    let victim: fn(&Lock, &Ledger, &str, &Mark) = |lock, ledger, _, mark| {
        mark.window(|| {
            ledger.add(lock::BEGUN);
            let guard = lock.lock().unwrap_or_else(|died| {
                let guard = died.into_inner();
                let [a, _] = guard.get();
                guard.set([a, a]);
                guard.mark_consistent();
                guard
            });
            let [a, b] = guard.get();
            guard.set([a + 1, b]);
            std::hint::black_box(&guard);
            guard.set([a + 1, b + 1]);
            guard.forget();
            lock.release().expect("this thread holds it");
            ledger.add(lock::DONE);
        });
    };
    let operation = Operation::new(
        "rlock/forget+release",
        &["free", "poisoned"],
        lock::world::<Lock>,
        victim,
        lock::survive::<Lock>,
    );
    operation.recoverer(victim).with(Role::Arrival, lock::arrive::<Lock>).boxed()
}

/// Sleeps while nothing is in stock.
fn wait_while() -> Box<dyn Row> {
    let victim: fn(&Stock, &Ledger, &str, &Mark) = |(lock, changed), ledger, _, mark| {
        mark.window(|| {
            let guard = changed.wait_while(hold(lock), |stock| *stock == 0);
            drop(guard.map_err(|died| died.get_ref().mark_consistent()));
            ledger.add(DONE);
        });
    };
    let operation = Operation::new("condvar/wait_while", &["alone", "waiter"], stock, victim, |stock, ledger, _| {
        condvar_works(stock, ledger)
    });
    let operation = operation.with(Role::Helper, |(lock, changed), _, _| {
        *hold(lock) += 1;
        changed.notify_all();
        Ok(())
    });
    operation
        .with(Role::Waiter, |stock, ledger, _| {
            ledger.falls_asleep();
            super::sync::wait_for_stock(stock);
            ledger.wakes_up();
            Ok(())
        })
        .boxed()
}

/// Those who wait are back, whether the call was begun, done, or killed in the middle.
fn barrier_call(name: &'static str, call: fn(&Barrier)) -> Box<dyn Row> {
    let is_abort = std::ptr::fn_addr_eq(call, Barrier::abort as fn(&Barrier));
    let victim: fn(&Barrier, &Ledger, &str, &Mark) = if is_abort {
        |barrier, ledger, _, mark| {
            mark.window(|| {
                barrier.abort();
                ledger.add(DONE);
            })
        }
    } else {
        |barrier, ledger, _, mark| {
            mark.window(|| {
                barrier.reset();
                ledger.add(DONE);
            })
        }
    };
    let survive: fn(&Barrier, &Ledger, &str) -> Verdict = |barrier, ledger, state| {
        if ledger.get(DONE) > 0 && !ledger.all_wake_up(crate::cast::patience() / 3) {
            return Err("WEDGED: somebody waits at a barrier that was aborted or reset".into());
        }
        barrier_works(barrier, ledger, state)
    };
    let operation = Operation::new(name, &["two", "waiter", "waiters"], set_up_barrier, victim, survive);
    operation.recoverer(victim).with(Role::Waiter, wait_at_barrier).boxed()
}
