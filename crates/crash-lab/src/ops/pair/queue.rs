//! `ipc::Queue` with two slow users: no message is lost or delivered twice, no process blocks for good, and "empty" and
//! "full" are said only when they are true.

use std::io::ErrorKind;

use ipc::{Queue, TryGetError, TryPutError};
use test_support::step::Mark;

use super::{
    super::{
        queue::{CAPACITY, Large, MIXED, Message, get, get_loan, loan, put, survive, try_get, warm_up, world},
        queue_growth,
        queue_handles::{Handled, put_handle},
    },
    PHASE, YOUNGEST,
};
use crate::{
    ledger::Ledger,
    operation::{Operation, Role, Row, Verdict},
};

/// The items that the first actor, the second, the third process and helpers put.
const FIRSTS: u64 = 20;
const SECONDS: u64 = 22;
const THIRDS: u64 = 40;
const HELPERS: u64 = 80;
/// Counter: how many have helped.
const HELPED: usize = 0;

/// How many messages the third process puts in each turn, and then gets. The second turn takes the ring nearly once
/// round.
const TURNS: [(u64, u64); 4] = [(1, 1), (CAPACITY - 1, CAPACITY - 1), (0, 1), (CAPACITY, CAPACITY + 1)];

pub(super) fn operations() -> Vec<Box<dyn Row>> {
    let all = &["empty", "one", "wrapped", "full"];
    vec![
        row::<u64>("pair/queue/get+put", &["one", "wrapped", "full"], get, put::<u64, SECONDS>),
        row::<u64>("pair/queue/put+get", all, put::<u64, FIRSTS>, get),
        row::<u64>("pair/queue/put+put", &["empty", "full-1"], put::<u64, FIRSTS>, put::<u64, SECONDS>),
        row::<u64>("pair/queue/get+get", &["one", "full"], get, get),
        row::<u64>("pair/queue/get+try_get", &["one", "wrapped"], get, try_get),
        row::<u64>("pair/queue/try_get+put", &["empty", "one"], try_get, put::<u64, SECONDS>),
        row::<u64>("pair/queue/put+try_get", &["empty", "one"], put::<u64, FIRSTS>, try_get),
        row::<u64>("pair/queue/get_many+put", &["full", "wrapped"], get_many, put::<u64, SECONDS>),
        row::<u64>("pair/queue/put_many+get_many", &["one", "wrapped"], put_many, get_many),
        row::<u64>("pair/queue/loan+get", &["empty", "wrapped"], loan::<FIRSTS>, get),
        row::<Large>("pair/queue-large/get+put", &["one", "full"], get, put::<Large, SECONDS>),
        row::<Large>("pair/queue-large/put+get", &["one", "full"], put::<Large, FIRSTS>, get),
        row::<Large>("pair/queue-large/get_loan+put", &["one", "full"], get_loan, put::<Large, SECONDS>),
        growing::<u64>("pair/queue-growing/put+put", &["filled-1", "filled"], put::<u64, FIRSTS>, put::<u64, SECONDS>),
        growing::<u64>("pair/queue-growing/put+get", &["filled", "grown", "left"], put::<u64, FIRSTS>, get),
        growing::<u64>("pair/queue-growing/get+put", &["filled", "grown", "left"], get, put::<u64, SECONDS>),
        growing::<u64>("pair/queue-growing/get+try_get", &["grown", "left"], get, try_get),
        growing::<u64>("pair/queue-growing/try_get+put", &["filled", "left-1"], try_get, put::<u64, SECONDS>),
        growing::<Large>("pair/queue-growing-large/get+put", &["filled", "grown"], get, put::<Large, SECONDS>),
        // Their store is a socket, of which there is no copy.
        pair::<Handled>("pair/queue-handle/get+get", &["one", "full"], get, get).opaque().boxed(),
        pair::<Handled>("pair/queue-handle/get+put", &["one", "full"], get, put_handle::<SECONDS>).opaque().boxed(),
        pair::<Handled>("pair/queue-handle/put+get", &["empty", "one"], put_handle::<FIRSTS>, get).opaque().boxed(),
    ]
}

type Life<T> = fn(&Queue<T>, &Ledger, &str, &Mark);

fn row<T: Message>(
    name: &'static str,
    states: &'static [&'static str],
    first: Life<T>,
    second: Life<T>,
) -> Box<dyn Row> {
    pair(name, states, first, second).boxed()
}

/// The same of a queue that grows.
fn growing<T: Message>(
    name: &'static str,
    states: &'static [&'static str],
    first: Life<T>,
    second: Life<T>,
) -> Box<dyn Row> {
    let world: fn(&str, &Ledger) -> Queue<T> = |state, ledger| {
        ledger.add(MIXED);
        queue_growth::world(state, ledger)
    };
    let operation = Operation::new(name, states, world, first, queue_growth::survive::<T>).beside(second).only_pair();
    operation.with(Role::Worker, work::<T>).with(Role::Helper, help::<T>).boxed()
}

fn pair<T: Message>(
    name: &'static str,
    states: &'static [&'static str],
    first: Life<T>,
    second: Life<T>,
) -> Operation<Queue<T>> {
    let world: fn(&str, &Ledger) -> Queue<T> = |state, ledger| {
        ledger.add(MIXED);
        world(state, ledger)
    };
    let operation = Operation::new(name, states, world, first, survive::<T>).beside(second).only_pair();
    operation.with(Role::Worker, work::<T>).with(Role::Helper, help::<T>)
}

fn put_many(queue: &Queue<u64>, ledger: &Ledger, state: &str, mark: &Mark) {
    warm_up::<u64>(state);
    mark.window(|| {
        (FIRSTS..FIRSTS + 2).for_each(|item| ledger.putting(item));
        queue.put_many(FIRSTS..FIRSTS + 2).expect("an open queue takes them");
        (FIRSTS..FIRSTS + 2).for_each(|item| ledger.has_put(item));
    });
}

fn get_many(queue: &Queue<u64>, ledger: &Ledger, state: &str, mark: &Mark) {
    warm_up::<u64>(state);
    mark.window(|| {
        // Each of them may be in the taker's hands.
        (0..2).for_each(|_| ledger.taking());
        let items = queue.get_many(2).expect("an open queue gives them");
        assert!((1..=2).contains(&items.len()), "one at least, and no more than asked for");
        (0..2).for_each(|i| ledger.has_taken(items.get(i).copied()));
    });
}

/// The third process: checks each "full" and "empty" that it is told, and the order of its own items.
fn work<T: Message>(queue: &Queue<T>, ledger: &Ledger, _: &str) -> Verdict {
    let turn = ledger.get(PHASE);
    ledger.add(PHASE);
    let (n_in, n_out) = TURNS[turn as usize % TURNS.len()];
    for item in (0..n_in).map(|i| THIRDS + turn * CAPACITY + i) {
        ledger.putting(item);
        match queue.try_put(T::of(item)) {
            Ok(()) => ledger.has_put(item),
            Err(TryPutError::Full(_)) => {
                ledger.has_not_put(item);
                if queue.maxsize() == 0 {
                    return Err("FULL, and it can grow".into());
                }
                ledger.may_be_full(CAPACITY)?;
            }
            Err(e) => return Err(format!("put: {e}")),
        }
    }
    for _ in 0..n_out {
        take::<T>(queue, ledger)?;
    }
    Ok(())
}

fn take<T: Message>(queue: &Queue<T>, ledger: &Ledger) -> Verdict {
    ledger.taking();
    match queue.try_get() {
        Ok(message) => {
            let item = message.item()?;
            ledger.has_taken(item);
            if (THIRDS..HELPERS).contains(&item) {
                let younger = ledger.raise(YOUNGEST, item);
                if younger > item {
                    return Err(format!("item {item} came after {younger}, which was put later"));
                }
            }
            Ok(())
        }
        Err(TryGetError::Empty) => {
            ledger.has_taken(None);
            ledger.may_be_empty()
        }
        Err(TryGetError::System(ErrorKind::ResourceBusy)) if T::MAY_BE_BUSY => {
            ledger.has_taken(None);
            Ok(())
        }
        Err(e) => Err(format!("get: {e}")),
    }
}

/// Wakes an actor that sleeps: puts a message, or makes room for one.
fn help<T: Message>(queue: &Queue<T>, ledger: &Ledger, _: &str) -> Verdict {
    let item = HELPERS + ledger.get(HELPED);
    ledger.add(HELPED);
    ledger.putting(item);
    match queue.try_put(T::of(item)) {
        Ok(()) => {
            ledger.has_put(item);
            Ok(())
        }
        Err(TryPutError::Full(_)) => {
            ledger.has_not_put(item);
            take::<T>(queue, ledger)
        }
        Err(e) => Err(format!("put: {e}")),
    }
}
