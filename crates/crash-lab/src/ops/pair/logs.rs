//! A child that logs and an owner that takes, both slow, while another child rings.

use test_support::step::Mark;

use super::super::logs::{Log, judge, put, take, world};
use crate::{
    ledger::Ledger,
    operation::{Operation, Role, Row, Verdict},
};

pub(super) fn operations() -> Vec<Box<dyn Row>> {
    vec![
        row("pair/logs/put+take", &["two", "wrapped", "large"], take),
        row("pair/logs/put+sleep", &["empty", "wrapped"], sleep),
    ]
}

fn row(name: &'static str, states: &'static [&'static str], owner: fn(&Log, &Ledger, &str, &Mark)) -> Box<dyn Row> {
    let operation = Operation::new(name, states, world, put, judge).beside(owner).only_pair();
    operation.with(Role::Worker, ring).with(Role::Rescuer, ring).boxed()
}

/// An owner that sleeps if there is nothing to take: what wakes it is a record, or somebody who rings.
fn sleep(log: &Log, _: &Ledger, _: &str, mark: &Mark) {
    let (reader, doorbell) = (log.reader(), log.doorbell());
    mark.window(|| doorbell.sleep(|| !reader.is_empty()));
}

/// The third process, another child of the owner.
fn ring(log: &Log, _: &Ledger, _: &str) -> Verdict {
    log.doorbell().ring();
    Ok(())
}
