//! `sync::process::{Condvar, Event, Semaphore}`: whoever waits and whoever ends waits can die; the others carry
//! on.

use std::time::{Duration, Instant};

use sync::process::{BoundedSemaphore, Condvar, Event, Lock, LockGuard, Semaphore};
use test_support::step::Mark;

use crate::{
    cast::patience,
    ledger::Ledger,
    operation::{Operation, Role, Row, Verdict},
    stopwatch::Stopwatch,
};

/// Counters: what the victim began and what it finished; how often a sleeping victim was helped; permits whose release
/// was begun, and was done.
pub(super) const BEGUN: usize = 0;
pub(super) const DONE: usize = 1;
const HELPED: usize = 2;
const RELEASING: usize = 3;
const RELEASED: usize = 4;
/// Counter: permits that were released one at a time.
const ALONE: usize = 5;

const NOTIFYING: &[&str] = &["nobody", "waiter", "waiters"];
const SLEEPING: &[&str] = &["alone", "waiter", "waiters"];

pub(crate) fn operations() -> Vec<Box<dyn Row>> {
    vec![
        notify("condvar/notify_one", true),
        notify("condvar/notify_all", false),
        condvar_wait(),
        condvar_timeout(),
        set(),
        clear(),
        event_wait(),
        event_timeout(),
        acquire(),
        acquire_blocked(),
        release(),
        bounded(),
    ]
}

/// Those who sleep are back, or will be soon.
pub(super) fn waiters_are_back(ledger: &Ledger) -> Verdict {
    if ledger.all_wake_up(patience() / 3) {
        Ok(())
    } else {
        Err(format!("WEDGED: {} of {} sleepers sleep on", ledger.n_asleep(), ledger.n_sleepers()))
    }
}

fn timed(what: &str, limit: Duration, call: impl FnOnce()) -> Verdict {
    let begun = Instant::now();
    call();
    let took = begun.elapsed();
    if took < limit + patience() / 4 {
        Ok(())
    } else {
        Err(format!("{what} took {took:?} where {limit:?} was the limit"))
    }
}

// ------------------------------------------------------------------------------------------------------ condvar

pub(super) type Stock = (Lock<u64>, Condvar);

pub(super) fn stock(_: &str, _: &Ledger) -> Stock {
    (Lock::new(0).expect("there is memory for a lock"), Condvar::new().expect("there is memory for a condvar"))
}

pub(super) fn hold(lock: &Lock<u64>) -> LockGuard<'_, u64> {
    lock.lock().unwrap_or_else(|died| {
        let guard = died.into_inner();
        guard.mark_consistent();
        guard
    })
}

/// Sleeps until there is something, which it leaves there for others.
pub(super) fn wait_for_stock((lock, changed): &Stock) {
    let mut guard = hold(lock);
    while *guard == 0 {
        guard = changed.wait(guard).unwrap_or_else(|died| {
            let guard = died.into_inner();
            guard.mark_consistent();
            guard
        });
    }
}

fn notify(name: &'static str, is_one: bool) -> Box<dyn Row> {
    let victim: [fn(&Stock, &Ledger, &str, &Mark); 2] = [
        |(lock, changed), ledger, _, mark| {
            mark.window(|| {
                *hold(lock) += 1;
                changed.notify_one();
                ledger.add(DONE);
            });
        },
        |(lock, changed), ledger, _, mark| {
            mark.window(|| {
                *hold(lock) += 1;
                changed.notify_all();
                ledger.add(DONE);
            });
        },
    ];
    let operation = Operation::new(name, NOTIFYING, stock, victim[usize::from(!is_one)], |stock, ledger, _| {
        // One who was told is back by himself; for the others the survivor speaks.
        if ledger.get(DONE) > 0 && !ledger.one_wakes_up(patience() / 3) {
            return Err("WEDGED: a notification that had been made woke nobody".into());
        }
        condvar_works(stock, ledger)
    });
    let operation = operation.recoverer(victim[0]).with(Role::Bystander, |stock, _, _| {
        let limit = Duration::from_millis(20);
        timed("wait_timeout", limit, || {
            let guard = stock.0.lock_timeout(limit);
            if let Ok(Some(guard)) = guard {
                let _ = stock.1.wait_timeout(guard, Duration::ZERO);
            }
        })
    });
    operation.with(Role::Waiter, wait_and_tell).boxed()
}

fn wait_and_tell(stock: &Stock, ledger: &Ledger, _: &str) -> Verdict {
    ledger.falls_asleep();
    wait_for_stock(stock);
    ledger.wakes_up();
    Ok(())
}

pub(super) fn condvar_works(stock: &Stock, ledger: &Ledger) -> Verdict {
    let (lock, changed) = stock;
    *hold(lock) += 1;
    changed.notify_all();
    waiters_are_back(ledger)?;
    // And once more, between two threads.
    *hold(lock) = 0;
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| wait_for_stock(stock));
        *hold(lock) += 1;
        changed.notify_one();
        sleeper.join().map_err(|_| "a sleeper panicked".to_owned())
    })
}

fn condvar_wait() -> Box<dyn Row> {
    let victim: fn(&Stock, &Ledger, &str, &Mark) = |stock, ledger, _, mark| {
        mark.window(|| {
            wait_for_stock(stock);
            ledger.add(DONE);
        });
    };
    let operation =
        Operation::new("condvar/wait", SLEEPING, stock, victim, |stock, ledger, _| condvar_works(stock, ledger));
    let operation = operation.with(Role::Helper, |(lock, changed), _, _| {
        *hold(lock) += 1;
        changed.notify_one();
        Ok(())
    });
    let operation = operation.recoverer(|(lock, changed), _, _, mark| {
        mark.window(|| {
            *hold(lock) += 1;
            changed.notify_all();
        });
    });
    operation.with(Role::Waiter, wait_and_tell).boxed()
}

/// Nobody notifies in time.
fn condvar_timeout() -> Box<dyn Row> {
    let victim: fn(&Stock, &Ledger, &str, &Mark) = |(lock, changed), _, _, mark| {
        mark.window(|| drop(changed.wait_timeout(hold(lock), Duration::from_millis(2))));
    };
    let operation = Operation::new("condvar/wait_timeout", &["nobody"], stock, victim, |stock, ledger, _| {
        condvar_works(stock, ledger)
    });
    operation.recoverer(victim).boxed()
}

// -------------------------------------------------------------------------------------------------------- event

pub(super) fn event(state: &str, _: &Ledger) -> Event {
    let event = Event::new().expect("there is memory for an event");
    if state == "set" {
        event.set();
    }
    event
}

fn wait_for_event(event: &Event, ledger: &Ledger, _: &str) -> Verdict {
    ledger.falls_asleep();
    let is_set = event.wait().map_err(|e| e.to_string())?;
    ledger.wakes_up();
    if is_set { Ok(()) } else { Err("a wait without a limit that ended unset".into()) }
}

pub(super) fn event_works(event: &Event, ledger: &Ledger, _: &str) -> Verdict {
    // Set is set: nobody sleeps beside it.
    if !event.is_set() {
        if ledger.get(DONE) > ledger.get(HELPED) {
            return Err("it was set, and is not".into());
        }
        event.set();
    }
    waiters_are_back(ledger)?;
    event.clear();
    let unset = event.wait_timeout(Duration::from_millis(1));
    event.set();
    let set = event.wait_timeout(patience() / 3);
    match (unset, set) {
        (Ok(false), Ok(true)) => Ok(()),
        other => Err(format!("cleared and set again: {other:?}")),
    }
}

fn set() -> Box<dyn Row> {
    let victim: fn(&Event, &Ledger, &str, &Mark) = |event, ledger, _, mark| {
        mark.window(|| {
            event.set();
            ledger.add(DONE);
        });
    };
    let operation = Operation::new("event/set", NOTIFYING, event, victim, event_works);
    let operation = operation.recoverer(victim).with(Role::Waiter, wait_for_event);
    operation
        .with(Role::Bystander, |event, _, _| {
            let limit = Duration::from_millis(10);
            timed("wait_timeout", limit, || drop(event.wait_timeout(limit)))
        })
        .boxed()
}

fn clear() -> Box<dyn Row> {
    let victim: fn(&Event, &Ledger, &str, &Mark) = |event, _, _, mark| mark.window(|| event.clear());
    Operation::new("event/clear", &["set", "unset"], event, victim, event_works).recoverer(victim).boxed()
}

fn event_wait() -> Box<dyn Row> {
    let victim: fn(&Event, &Ledger, &str, &Mark) = |event, _, _, mark| {
        mark.window(|| assert!(event.wait().expect("it is fit for waiting")));
    };
    let operation = Operation::new("event/wait", SLEEPING, event, victim, event_works);
    let operation = operation.with(Role::Helper, |event, _, _| {
        event.set();
        Ok(())
    });
    let operation = operation.recoverer(|event, _, _, mark| mark.window(|| event.set()));
    operation.with(Role::Waiter, wait_for_event).boxed()
}

/// Nobody sets it in time.
fn event_timeout() -> Box<dyn Row> {
    let victim: fn(&Event, &Ledger, &str, &Mark) = |event, _, _, mark| {
        mark.window(|| drop(event.wait_timeout(Duration::from_millis(2))));
    };
    Operation::new("event/wait_timeout", &["unset"], event, victim, event_works).recoverer(victim).boxed()
}

// ---------------------------------------------------------------------------------------------------- semaphore

/// With two permits; without any where the state says that somebody sleeps.
pub(super) fn semaphore(state: &str, _: &Ledger) -> Semaphore {
    let permits = if ["free", "nobody"].contains(&state) { 2 } else { 0 };
    Semaphore::new(permits).expect("there is memory for a semaphore")
}

pub(super) fn acquire_one(semaphore: &Semaphore, ledger: &Ledger, _: &str, mark: &Mark) {
    mark.window(|| {
        ledger.add(BEGUN);
        semaphore.acquire().forget();
        ledger.add(DONE);
    });
}

fn acquire_and_tell(semaphore: &Semaphore, ledger: &Ledger, _: &str) -> Verdict {
    ledger.falls_asleep();
    semaphore.acquire().forget();
    ledger.wakes_up();
    Ok(())
}

pub(super) fn release_one(semaphore: &Semaphore, ledger: &Ledger) -> Verdict {
    ledger.add(ALONE);
    ledger.add(RELEASING);
    semaphore.release(1).map_err(|e| e.to_string())?;
    ledger.add(RELEASED);
    Ok(())
}

pub(super) fn release_two(semaphore: &Semaphore, ledger: &Ledger) {
    (0..2).for_each(|_| ledger.add(RELEASING));
    semaphore.release(2).expect("far from the limit");
    (0..2).for_each(|_| ledger.add(RELEASED));
}

/// Nobody sleeps beside a free permit; and whoever sleeps is back when enough were released.
fn release_waiters(semaphore: &Semaphore, ledger: &Ledger) -> Verdict {
    for _ in 0..2 {
        if ledger.n_asleep() > 0 && !settles(semaphore, ledger) {
            return Err("WEDGED: a sleeper sleeps on beside a free permit".into());
        }
        if ledger.n_asleep() > 0 {
            release_one(semaphore, ledger)?;
        }
    }
    waiters_are_back(ledger)
}

/// No permit is free, or nobody sleeps; soon.
fn settles(semaphore: &Semaphore, ledger: &Ledger) -> bool {
    let mut begun = Stopwatch::start();
    while semaphore.permits() > 0 && ledger.n_asleep() > 0 {
        if begun.elapsed() > patience() / 3 {
            return false;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    true
}

/// All permits there ever were are free, or with somebody who is known to have one, or went with the dead.
pub(super) fn conserved(semaphore: &Semaphore, ledger: &Ledger, at_first: u64) -> Verdict {
    let known = u64::from(semaphore.permits()) + ledger.n_awake() + ledger.get(DONE);
    let in_hand = ledger.get(BEGUN) - ledger.get(DONE) + ledger.n_buried();
    let (least, most) = (at_first + ledger.get(RELEASED), at_first + ledger.get(RELEASING));
    if known <= most && known + in_hand >= least {
        Ok(())
    } else {
        Err(format!("{least} to {most} permits were made; {known} are known of, and the dead may have {in_hand}"))
    }
}

fn acquire() -> Box<dyn Row> {
    let operation = Operation::new("semaphore/acquire", &["free"], semaphore, acquire_one, |semaphore, ledger, _| {
        conserved(semaphore, ledger, 2)
    });
    let operation = operation.recoverer(acquire_one).with(Role::Arrival, |semaphore, ledger, _| {
        ledger.falls_asleep();
        semaphore.acquire_timeout(patience() / 2).ok_or("WEDGED: there is a permit, and nobody gets it")?.forget();
        ledger.wakes_up();
        Ok(())
    });
    operation.boxed()
}

fn acquire_blocked() -> Box<dyn Row> {
    let operation =
        Operation::new("semaphore/acquire-blocked", SLEEPING, semaphore, acquire_one, |semaphore, ledger, _| {
            release_waiters(semaphore, ledger)?;
            conserved(semaphore, ledger, 0)
        });
    let operation = operation.with(Role::Helper, |semaphore, ledger, _| release_one(semaphore, ledger));
    let operation = operation.recoverer(|semaphore, ledger, _, mark| {
        mark.window(|| release_one(semaphore, ledger).expect("below the limit"))
    });
    operation.with(Role::Waiter, acquire_and_tell).boxed()
}

fn release() -> Box<dyn Row> {
    let victim: fn(&Semaphore, &Ledger, &str, &Mark) =
        |semaphore, ledger, _, mark| mark.window(|| release_two(semaphore, ledger));
    let operation = Operation::new("semaphore/release", NOTIFYING, semaphore, victim, |semaphore, ledger, state| {
        release_waiters(semaphore, ledger)?;
        conserved(semaphore, ledger, if state == "nobody" { 2 } else { 0 })?;
        // Two at once or none; unless a sleeper died with one.
        let known = u64::from(semaphore.permits()) + ledger.n_awake();
        if ledger.n_buried() > 0 || (known - ledger.get(ALONE)) % 2 == 0 {
            Ok(())
        } else {
            Err(format!("one of two permits was released: {known} are known of"))
        }
    });
    operation.recoverer(victim).with(Role::Waiter, acquire_and_tell).boxed()
}

/// A permit is taken and comes back; there are never more than at first.
fn bounded() -> Box<dyn Row> {
    let victim: fn(&BoundedSemaphore, &Ledger, &str, &Mark) = |semaphore, ledger, _, mark| {
        mark.window(|| {
            ledger.add(BEGUN);
            drop(semaphore.acquire());
            ledger.add(DONE);
        });
    };
    let world = |_: &str, _: &Ledger| BoundedSemaphore::new(3).expect("there is memory for a semaphore");
    let operation = Operation::new("semaphore/bounded", &["free"], world, victim, |semaphore, ledger, _| {
        let in_hand = ledger.get(BEGUN) - ledger.get(DONE);
        let free = u64::from(semaphore.permits());
        if free > 3 || free + in_hand < 3 {
            return Err(format!("{free} of 3 permits are free, and the dead may have {in_hand}"));
        }
        if semaphore.release(1).is_ok() == (free < 3) { Ok(()) } else { Err("the bound is another".into()) }
    });
    operation.recoverer(victim).boxed()
}
