//! `ipc::JoinableQueue`: what was put is delivered until somebody's `task_done` has returned, and then never again;
//! `join` returns.

use std::time::{Duration, Instant};

use ipc::{JoinableQueue, TryGetError, TryPutError};
use test_support::step::Mark;

use crate::{
    cast::patience,
    ledger::Ledger,
    operation::{Operation, Role, Row, Verdict},
    stopwatch::Stopwatch,
};

type Queue = JoinableQueue<u64>;

const CAPACITY: u64 = 4;

/// Who puts what in; the state's own items count from 0.
const VICTIMS: u64 = 20;
const RECOVERERS: u64 = 30;
const ARRIVALS: u64 = 35;
const HELPERS: u64 = 40;
const SURVIVORS: u64 = 60;
/// What a second thread of the victim puts in.
pub(super) const OTHERS: u64 = 50;

/// Counter: how often the victim was helped.
const HELPED: usize = 0;

pub(crate) fn operations() -> Vec<Box<dyn Row>> {
    vec![
        row("joinable/put", &["empty", "one", "full-1", "waiter", "join-waiter"], |queue, ledger, _, mark| {
            mark.window(|| put(queue, ledger, VICTIMS));
        }),
        row("joinable/get", &["one", "full", "join-waiter"], |queue, _, _, mark| {
            mark.window(|| std::mem::forget(queue.get().expect("there is an item")));
        }),
        row("joinable/get+task_done", &["one", "full", "join-waiter"], |queue, ledger, _, mark| {
            mark.window(|| deal_with(queue, ledger));
        }),
        row("joinable/task_done", &["one", "full", "join-waiter"], |queue, ledger, _, mark| {
            let item = queue.get().expect("there is an item");
            let value = *item;
            mark.window(|| {
                ledger.taking();
                item.task_done();
                ledger.has_taken(value);
            });
        }),
        row("joinable/give-back", &["one", "full", "join-waiter"], |queue, _, _, mark| {
            let item = queue.get().expect("there is an item");
            mark.window(|| drop(item));
        }),
        row("joinable/put_many", &["empty", "one", "waiter"], |queue, ledger, _, mark| {
            mark.window(|| {
                (0..2).for_each(|i| ledger.putting(VICTIMS + i));
                queue.put_many((0..2).map(|i| VICTIMS + i)).expect("an open queue takes them");
                (0..2).for_each(|i| ledger.has_put(VICTIMS + i));
            });
        }),
        row("joinable/get_many", &["one", "full", "join-waiter"], |queue, _, _, mark| {
            mark.window(|| std::mem::forget(queue.get_many(2).expect("there is an item")));
        }),
        dead_letters(),
        blocked_get(),
        join(),
        close(),
    ]
}

fn row(name: &'static str, states: &'static [&'static str], victim: fn(&Queue, &Ledger, &str, &Mark)) -> Box<dyn Row> {
    let operation = Operation::new(name, states, world, victim, survive);
    let operation = operation.recoverer(recover);
    let operation = operation.with(Role::Arrival, |queue, ledger, _| {
        let item = queue.try_get();
        if let Ok(item) = item {
            finish(item, ledger);
        }
        ledger.putting(ARRIVALS);
        queue.put_timeout(ARRIVALS, patience() / 2).map_err(|e| format!("WEDGED: put: {e}"))?;
        ledger.has_put(ARRIVALS);
        Ok(())
    });
    let operation = operation.with(Role::Bystander, |queue, ledger, _| {
        let limit = Duration::from_millis(20);
        let begun = Instant::now();
        if let Ok(item) = queue.get_timeout(limit) {
            finish(item, ledger);
        }
        let joined = queue.join_timeout(limit).map_err(|e| e.to_string())?;
        if joined && queue.unfinished() > 0 {
            return Err("joined beside unfinished items".into());
        }
        // The victim may have been about to take what was taken here.
        ledger.putting(ARRIVALS);
        if queue.try_put(ARRIVALS).is_ok() {
            ledger.has_put(ARRIVALS);
        }
        if begun.elapsed() < 2 * limit + patience() / 4 { Ok(()) } else { Err(format!("took {:?}", begun.elapsed())) }
    });
    operation.with(Role::Waiter, wait).boxed()
}

fn recover(queue: &Queue, ledger: &Ledger, _: &str, mark: &Mark) {
    mark.window(|| {
        ledger.putting(RECOVERERS);
        if queue.try_put(RECOVERERS).is_ok() {
            ledger.has_put(RECOVERERS);
        }
        if let Ok(item) = queue.try_get() {
            finish(item, ledger);
        }
    });
}

pub(super) fn world(state: &str, ledger: &Ledger) -> Queue {
    let queue = Queue::new(CAPACITY as usize).expect("the maker can make a queue");
    let n = match state {
        "one" | "join-waiter" => 1,
        "full-1" => CAPACITY - 1,
        "full" => CAPACITY,
        _ => 0,
    };
    (0..n).for_each(|item| put(&queue, ledger, item));
    queue
}

fn put(queue: &Queue, ledger: &Ledger, item: u64) {
    ledger.putting(item);
    queue.put(item).expect("an open queue takes it");
    ledger.has_put(item);
}

pub(super) fn finish(item: ipc::joinable::Item<u64>, ledger: &Ledger) {
    let value = *item;
    ledger.taking();
    item.task_done();
    ledger.has_taken(value);
}

fn deal_with(queue: &Queue, ledger: &Ledger) {
    finish(queue.get().expect("an open queue gives"), ledger);
}

/// Sleeps in `join` or, in other states, in `get`.
fn wait(queue: &Queue, ledger: &Ledger, state: &str) -> Verdict {
    ledger.falls_asleep();
    if state == "join-waiter" {
        queue.join().map_err(|e| e.to_string())?;
    } else {
        deal_with(queue, ledger);
    }
    ledger.wakes_up();
    Ok(())
}

/// Everything comes out, once for good, and then `join` returns, to those who slept in it as well.
pub(super) fn survive(queue: &Queue, ledger: &Ledger, state: &str) -> Verdict {
    if state != "join-waiter" && ledger.n_asleep() > 0 {
        // Whoever sleeps while there is something to take would sleep for good.
        if queue.unfinished() == 0 {
            put(queue, ledger, SURVIVORS);
        }
        if !ledger.all_wake_up(patience() / 3) {
            return Err("WEDGED: a sleeper sleeps on beside what it waits for".into());
        }
    }
    let mut begun = Stopwatch::start();
    let mut rest = Vec::new();
    while queue.unfinished() > 0 {
        match queue.get_timeout(Duration::from_millis(100)) {
            Ok(item) => {
                rest.push(*item);
                item.task_done();
            }
            Err(_) if begun.elapsed() < patience() / 2 => {}
            Err(e) => return Err(format!("WEDGED: {} unfinished, and {e}", queue.unfinished())),
        }
    }
    if !queue.join_timeout(patience() / 4).map_err(|e| e.to_string())? {
        return Err("WEDGED: nothing is unfinished, and join waits".into());
    }
    if !ledger.all_wake_up(patience() / 4) {
        return Err(format!("WEDGED: a sleeper sleeps on; the rest was {rest:?}"));
    }
    if !matches!(queue.try_get(), Err(TryGetError::Empty)) {
        return Err("joined, and there is more".into());
    }
    ledger.balance(&rest)?;
    for i in 0..CAPACITY {
        queue.try_put(i).map_err(|e| format!("room for {i} of {CAPACITY}: {e}"))?;
    }
    if matches!(queue.try_put(CAPACITY), Err(TryPutError::Full(_))) && queue.unfinished() as u64 == CAPACITY {
        Ok(())
    } else {
        Err(format!("a full queue with {} unfinished", queue.unfinished()))
    }
}

/// Sleeps until there is something; in the state "waiter" beside another that does.
fn blocked_get() -> Box<dyn Row> {
    let victim: fn(&Queue, &Ledger, &str, &Mark) = |queue, ledger, _, mark| mark.window(|| deal_with(queue, ledger));
    let operation = Operation::new("joinable/get-blocked", &["empty", "waiter"], world, victim, survive);
    let operation = operation.with(Role::Helper, |queue, ledger, _| {
        let item = HELPERS + ledger.get(HELPED);
        ledger.add(HELPED);
        put(queue, ledger, item);
        Ok(())
    });
    operation.recoverer(recover).with(Role::Waiter, wait).boxed()
}

/// Sleeps until everything has been dealt with.
fn join() -> Box<dyn Row> {
    let victim: fn(&Queue, &Ledger, &str, &Mark) =
        |queue, _, _, mark| mark.window(|| queue.join().expect("sound memory"));
    let operation = Operation::new("joinable/join", &["one", "join-waiter"], world, victim, survive);
    let operation = operation.with(Role::Helper, |queue, ledger, _| {
        deal_with(queue, ledger);
        Ok(())
    });
    operation.recoverer(recover).with(Role::Waiter, wait).boxed()
}

/// What was put before can be dealt with; then everybody is told of the end.
fn close() -> Box<dyn Row> {
    let victim: fn(&Queue, &Ledger, &str, &Mark) = |queue, _, _, mark| mark.window(|| queue.close());
    let operation = Operation::new("joinable/close", &["empty", "one", "waiter"], world, victim, |queue, ledger, _| {
        queue.close();
        if !ledger.all_wake_up(patience() / 3) {
            return Err("WEDGED: a sleeper does not learn of the end".into());
        }
        if !matches!(queue.put(1), Err(ipc::PutError::Closed(1))) {
            return Err("a closed queue takes more".into());
        }
        queue.iter().for_each(|item| finish(item, ledger));
        ledger.balance(&[])?;
        if queue.join_timeout(patience() / 3).is_ok_and(|joined| joined) { Ok(()) } else { Err("WEDGED: join".into()) }
    });
    let operation = operation.with(Role::Waiter, |queue, ledger, _| {
        ledger.falls_asleep();
        let end = queue.get();
        ledger.wakes_up();
        if matches!(end, Err(ipc::GetError::Closed)) { Ok(()) } else { Err(format!("{end:?}")) }
    });
    operation.recoverer(victim).boxed()
}

/// An item that was given back too often is a dead letter, and is taken once.
fn dead_letters() -> Box<dyn Row> {
    let world: fn(&str, &Ledger) -> Queue = |_, ledger| {
        let queue = Queue::builder().maxsize(CAPACITY as usize).max_deliveries(1).build_joinable();
        let queue = queue.expect("the maker can make a queue");
        for item in 0..2 {
            put(&queue, ledger, item);
            drop(queue.get().expect("there is an item"));
        }
        // The next to look for an item gives up on the last one.
        assert!(matches!(queue.try_get(), Err(TryGetError::Empty)));
        queue
    };
    let victim: fn(&Queue, &Ledger, &str, &Mark) = |queue, ledger, _, mark| {
        mark.window(|| {
            (0..2).for_each(|_| ledger.taking());
            let letters = queue.dead_letters().expect("sound memory");
            (0..2).for_each(|i| ledger.has_taken(letters.get(i).copied()));
        });
    };
    let operation = Operation::new("joinable/dead_letters", &["two"], world, victim, |queue, ledger, state| {
        let rest = queue.dead_letters().map_err(|e| e.to_string())?;
        rest.into_iter().for_each(|item| {
            ledger.taking();
            ledger.has_taken(item);
        });
        survive(queue, ledger, state)
    });
    operation.recoverer(victim).boxed()
}
