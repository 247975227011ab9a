//! Locks with two slow users: never two holders, a dead holder is reported, and a lock that is free is free for all.

use std::cell::Cell;

use sync::process::{Lock, RLock, RwLock};
use test_support::step::Mark;

use super::super::lock::{BEGUN, DONE, Exclusive, How, LET_GO, Pair, arrive, change, survive, world};
use crate::{
    cast::patience,
    ledger::Ledger,
    operation::{Operation, Role, Row, Verdict},
};

pub(super) fn operations() -> Vec<Box<dyn Row>> {
    vec![
        both::<Lock<Pair>>("pair/lock/lock+lock"),
        both::<RLock<Cell<Pair>>>("pair/rlock/lock+lock"),
        both::<RwLock<Pair>>("pair/rwlock/write+write"),
        read_and_write(),
        both_blocked::<Lock<Pair>>("pair/lock/blocked+blocked"),
        both_blocked::<RLock<Cell<Pair>>>("pair/rlock/blocked+blocked"),
        both_blocked::<RwLock<Pair>>("pair/rwlock/blocked+blocked"),
    ]
}

/// Each locks, changes what is inside, and unlocks. The second may sleep until the first goes on.
fn both<L: Exclusive>(name: &'static str) -> Box<dyn Row> {
    let operation = Operation::new(name, &["free", "poisoned"], world::<L>, lock_and_unlock::<L>, survive::<L>);
    operation.beside(lock_and_unlock::<L>).only_pair().with(Role::Worker, try_once::<L>).boxed()
}

/// Both sleep until the holder lets go, one of them sometimes until the other does.
fn both_blocked<L: Exclusive>(name: &'static str) -> Box<dyn Row> {
    let operation =
        Operation::new(name, &["held-till-told"], world::<L>, lock_and_unlock::<L>, |lock, ledger, state| {
            ledger.add(LET_GO);
            arrive(lock, ledger, state)?;
            survive(lock, ledger, state)
        });
    let operation = operation.beside(lock_and_unlock::<L>).only_pair().with(Role::Worker, try_once::<L>);
    let operation = operation.with(Role::Holder, |lock: &L, ledger, _| {
        lock.enter_for_good();
        // The end of this process lets go.
        if ledger.comes(LET_GO, 3 * patience()) { Ok(()) } else { Err("nobody told the holder to let go".into()) }
    });
    operation.with(Role::Helper, let_go).boxed()
}

fn let_go<L: Exclusive>(_: &L, ledger: &Ledger, _: &str) -> Verdict {
    ledger.add(LET_GO);
    Ok(())
}

fn lock_and_unlock<L: Exclusive>(lock: &L, ledger: &Ledger, _: &str, mark: &Mark) {
    mark.window(|| change(lock, ledger));
}

/// Changes what is inside, if nobody else is in; the data is whole then, or the death of a holder is reported.
fn try_once<L: Exclusive>(lock: &L, ledger: &Ledger, _: &str) -> Verdict {
    ledger.add(BEGUN);
    let Some(entered) = lock.enter(How::Try) else { return Ok(()) };
    ledger.add(DONE);
    let [a, b] = entered.before;
    if a != b && !entered.owner_died {
        return Err(format!("({a}, {b}) inside, and no holder was reported dead"));
    }
    Ok(())
}

/// A reader sees both numbers equal, however slow it and a writer are.
fn read_and_write() -> Box<dyn Row> {
    let read: fn(&RwLock<Pair>, &Ledger, &str, &Mark) = |lock, _, _, mark| {
        mark.window(|| {
            // A reader beside a dead writer is told so.
            if let Ok(pair) = lock.read() {
                assert_eq!(pair[0], pair[1], "TORN");
            }
        });
    };
    let operation =
        Operation::new("pair/rwlock/read+write", &["free"], world::<RwLock<Pair>>, read, survive::<RwLock<Pair>>);
    operation.beside(lock_and_unlock::<RwLock<Pair>>).only_pair().with(Role::Worker, try_once::<RwLock<Pair>>).boxed()
}
