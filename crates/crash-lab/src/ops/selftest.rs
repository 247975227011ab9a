//! The lab's own object, right and wrong.

use std::mem::ManuallyDrop;

use proc_core::shm::SharedMemory;
use test_support::step::Mark;

use crate::{
    cast::patience,
    fifo::{CAPACITY, Fault, Fifo, Unusable},
    ledger::Ledger,
    operation::{Operation, Role, Row, Verdict},
};

/// What the victim, the recoverer, the helper and the survivor put in; the state's own items count from 0.
const VICTIMS: u64 = 20;
const RECOVERERS: u64 = 30;
const HELPERS: u64 = 40;
const SURVIVORS: u64 = 50;

/// Counter: how often the victim has been helped; somebody else may take what was meant for it.
const HELPED: usize = 0;

/// The sound ones.
pub(crate) fn operations() -> Vec<Box<dyn Row>> {
    vec![
        put("selftest/put", &["empty", "one", "full-1"], |state, ledger| world(Fault::None, state, ledger)),
        get("selftest/get", &["one", "full"], |state, ledger| world(Fault::None, state, ledger)),
        put_get("selftest/put+get", &["empty", "one"], |state, ledger| world(Fault::None, state, ledger)),
        blocked_get("selftest/get-blocked", |state, ledger| world(Fault::None, state, ledger)),
    ]
}

/// The same, each with a fault.
pub(crate) fn mutants() -> Vec<Box<dyn Row>> {
    const STATES: &[&str] = &["one"];
    vec![
        put_get("mutant/none", STATES, |state, ledger| world(Fault::None, state, ledger)),
        put_get("mutant/not-robust", STATES, |state, ledger| world(Fault::NotRobust, state, ledger)),
        put_get("mutant/early-publish", STATES, |state, ledger| world(Fault::EarlyPublish, state, ledger)),
        put_get("mutant/no-repair", STATES, |state, ledger| world(Fault::NoRepair, state, ledger)),
        put_get("mutant/forgotten", STATES, |state, ledger| world(Fault::Forgotten, state, ledger)),
        put_get("mutant/lost-count", STATES, |state, ledger| world(Fault::LostCount, state, ledger)),
        blocked_get("mutant/swallowed-wake", |state, ledger| world(Fault::SwallowedWake, state, ledger)),
        needing_memory("mutant/needs-memory", |_, _, _, mark| {
            mark.window(|| drop((memory(), memory())));
        }),
        needing_memory("mutant/leak", |_, _, _, mark| {
            mark.window(|| {
                let first = ManuallyDrop::new(memory());
                let second = memory();
                drop((ManuallyDrop::into_inner(first), second));
            });
        }),
        needing_memory("mutant/late-refusal", |fifo, ledger, _, mark| {
            mark.window(|| {
                ledger.putting(VICTIMS);
                assert_eq!(fifo.put(VICTIMS), Ok(true));
                drop(memory());
                ledger.has_put(VICTIMS);
            });
        }),
    ]
}

fn memory() -> SharedMemory {
    SharedMemory::new(4096).expect("there is memory")
}

/// What may be refused for want of memory or descriptors.
fn needing_memory(name: &'static str, victim: fn(&Fifo, &Ledger, &str, &Mark)) -> Box<dyn Row> {
    Operation::new(name, &["one"], |state, ledger| world(Fault::None, state, ledger), victim, survive).boxed()
}

type World = fn(&str, &Ledger) -> Fifo;

fn world(fault: Fault, state: &str, ledger: &Ledger) -> Fifo {
    let fifo = Fifo::new(fault).expect("the maker can make a queue");
    let n = match state {
        "one" => 1,
        "full-1" => CAPACITY - 1,
        "full" => CAPACITY,
        _ => 0,
    };
    for item in 0..n {
        assert!(put_in(&fifo, ledger, item).expect("a fresh queue is usable"));
    }
    fifo
}

fn put(name: &'static str, states: &'static [&'static str], world: World) -> Box<dyn Row> {
    let operation = Operation::new(
        name,
        states,
        world,
        |fifo, ledger, _, mark| {
            mark.window(|| put_in(fifo, ledger, VICTIMS)).expect("the lock is sound");
        },
        survive,
    );
    operation.recoverer(recover).with(Role::Arrival, arrive).boxed()
}

fn get(name: &'static str, states: &'static [&'static str], world: World) -> Box<dyn Row> {
    let operation = Operation::new(
        name,
        states,
        world,
        |fifo, ledger, _, mark| {
            mark.window(|| take_out(fifo, ledger)).expect("the lock is sound");
        },
        survive,
    );
    operation.recoverer(recover).with(Role::Arrival, arrive).boxed()
}

fn put_get(name: &'static str, states: &'static [&'static str], world: World) -> Box<dyn Row> {
    let operation = Operation::new(
        name,
        states,
        world,
        |fifo, ledger, _, mark| {
            mark.window(|| {
                put_in(fifo, ledger, VICTIMS)?;
                take_out(fifo, ledger)
            })
            .expect("the lock is sound");
        },
        survive,
    );
    operation.recoverer(recover).with(Role::Arrival, arrive).boxed()
}

/// A call that sleeps until somebody puts something in; another sleeper beside it.
fn blocked_get(name: &'static str, world: World) -> Box<dyn Row> {
    let operation = Operation::new(
        name,
        &["empty", "waiter"],
        world,
        |fifo, ledger, _, mark| {
            mark.window(|| {
                ledger.taking();
                let item = fifo.get();
                ledger.has_taken(item.ok().and_then(Result::ok));
            });
        },
        |fifo, ledger, state| {
            // Whoever sleeps while there is something to take would sleep for good.
            if fifo.len().map_err(unusable)?.0 == 0 {
                put_in(fifo, ledger, SURVIVORS).map_err(unusable)?;
            }
            if !ledger.all_wake_up(patience() / 2) {
                return Err("WEDGED: another sleeper sleeps on beside what it waits for".into());
            }
            survive(fifo, ledger, state)
        },
    );
    let operation = operation.with(Role::Waiter, |fifo, ledger, _| {
        ledger.falls_asleep();
        ledger.taking();
        let item = fifo.get().map_err(unusable)?.map_err(torn)?;
        ledger.has_taken(item);
        ledger.wakes_up();
        Ok(())
    });
    let operation = operation.with(Role::Helper, |fifo, ledger, _| {
        let item = HELPERS + ledger.get(HELPED);
        ledger.add(HELPED);
        put_in(fifo, ledger, item).map(drop).map_err(unusable)
    });
    operation.recoverer(recover).boxed()
}

fn recover(fifo: &Fifo, ledger: &Ledger, _: &str, mark: &Mark) {
    mark.window(|| {
        let _ = put_in(fifo, ledger, RECOVERERS);
        let _ = take_out(fifo, ledger);
    });
}

fn arrive(fifo: &Fifo, ledger: &Ledger, _: &str) -> Verdict {
    take_out(fifo, ledger).map(drop).map_err(unusable)
}

/// The books balance, nothing is lost or torn, and all the room is there.
fn survive(fifo: &Fifo, ledger: &Ledger, _: &str) -> Verdict {
    let (len, in_books) = fifo.len().map_err(unusable)?;
    if len != in_books {
        return Err(format!("{len} in the queue, {in_books} in its books"));
    }
    let drain = || {
        let mut rest = Vec::new();
        while let Some(value) = fifo.try_get().map_err(unusable)? {
            rest.push(value.map_err(torn)?);
        }
        Ok::<_, String>(rest)
    };
    ledger.balance(&drain()?)?;
    for i in 0..CAPACITY {
        if !fifo.put(i).map_err(unusable)? {
            return Err(format!("room for {i} of {CAPACITY}"));
        }
    }
    if drain()?.len() as u64 == CAPACITY { Ok(()) } else { Err("a full queue does not hold its capacity".into()) }
}

fn put_in(fifo: &Fifo, ledger: &Ledger, item: u64) -> Result<bool, Unusable> {
    ledger.putting(item);
    let done = fifo.put(item)?;
    if done {
        ledger.has_put(item);
    }
    Ok(done)
}

fn take_out(fifo: &Fifo, ledger: &Ledger) -> Result<(), Unusable> {
    ledger.taking();
    let item = fifo.try_get()?;
    ledger.has_taken(item.and_then(Result::ok));
    Ok(())
}

fn unusable(_: Unusable) -> String {
    "WEDGED: the lock is unusable for good".into()
}

fn torn(words: [u64; 4]) -> String {
    format!("TORN: {words:x?}")
}
