//! The ring that a child's records go through: a record whose `put` has returned is there, whole, once and in order,
//! wherever its writer was killed; and an owner that sleeps is woken by the next.

use std::{os::fd::AsFd, time::Duration};

use proc_core::{
    logs::{
        doorbell::Doorbell,
        ring::{Reader, Ring, Writer},
    },
    shm::SharedMemory,
};
use serde::{Deserialize, Serialize};
use test_support::step::Mark;

use crate::{
    cast::patience,
    ledger::{Ledger, VICTIMS},
    operation::{Operation, Role, Row, Verdict},
};

/// A ring and a doorbell, as the memory that they lie in.
#[derive(Serialize, Deserialize)]
pub(super) struct Log {
    ring: SharedMemory,
    doorbell: SharedMemory,
}

/// What lies in the ring when the victim comes: so many.
const N_BEFORE: u64 = 2;
/// The items that a helper, and that the survivor puts to wake who sleeps.
const SURVIVORS: u64 = 100;
/// What fills a ring: so many items of 30 KiB, numbered from 40.
const FILL: std::ops::Range<u64> = 40..44;

impl Log {
    fn ring(&self) -> Ring {
        Ring::from_fd(self.ring.as_fd().try_clone_to_owned().expect("there are descriptors")).expect("there is a ring")
    }

    pub(super) fn writer(&self, patience: Duration) -> Writer {
        Writer::new(self.ring(), patience)
    }

    pub(super) fn reader(&self) -> Reader {
        Reader::new(self.ring())
    }

    pub(super) fn doorbell(&self) -> Doorbell {
        Doorbell::from_fd(self.doorbell.as_fd().try_clone_to_owned().expect("there are descriptors"))
            .expect("there is a doorbell")
    }
}

pub(crate) fn operations() -> Vec<Box<dyn Row>> {
    let put = Operation::new("logs/put", &["empty", "two", "wrapped", "large", "waiter"], world, put, judge);
    let full = Operation::new("logs/put-full", &["full"], world, put_late, judge);
    vec![
        put.with(Role::Waiter, listen).boxed(),
        full.with(Role::Helper, |log, ledger, _| take_one(&mut log.reader(), ledger).map(drop)).boxed(),
        Operation::new("logs/take", &["two", "wrapped", "large"], world, take, judge).boxed(),
    ]
}

/// A record that says which one it is.
pub(super) fn record(item: u64, state: &str) -> Vec<u8> {
    let len = match state {
        "large" => 5000,
        "full" if FILL.contains(&item) => 30 << 10,
        _ => 41,
    };
    vec![item as u8; len]
}

pub(super) fn world(state: &str, ledger: &Ledger) -> Log {
    let ring = Ring::new().expect("the maker can make a ring");
    let doorbell = Doorbell::new().expect("the maker can make a doorbell");
    let memory = |fd: std::os::fd::BorrowedFd<'_>| {
        SharedMemory::from_fd(fd.try_clone_to_owned().expect("there are descriptors")).expect("it can be mapped")
    };
    let log = Log { ring: memory(ring.as_fd()), doorbell: memory(doorbell.as_fd()) };
    let (mut writer, mut reader) = (log.writer(Duration::ZERO), log.reader());
    if state == "wrapped" {
        // To the last words of the ring.
        let mut taken = Vec::new();
        for len in [30 << 10, 30 << 10, 30 << 10, 30 << 10, 8 * 1024 - 72] {
            assert!(writer.put(&vec![0; len], &doorbell));
            assert_eq!(reader.take(&mut taken), Ok(Some(0)));
        }
    }
    let before = match state {
        "full" => FILL,
        "empty" | "waiter" => 0..0,
        _ => 0..N_BEFORE,
    };
    for item in before {
        ledger.putting(item);
        assert!(writer.put(&record(item, state), &doorbell));
        ledger.has_put(item);
    }
    log
}

fn put_items(writer: &mut Writer, doorbell: &Doorbell, ledger: &Ledger, records: &[Vec<u8>]) {
    for record in records {
        let item = u64::from(record[0]);
        ledger.putting(item);
        if writer.put(record, doorbell) { ledger.has_put(item) } else { ledger.has_not_put(item) }
    }
}

fn victims(state: &str) -> Vec<Vec<u8>> {
    (VICTIMS.start as u64..).take(2).map(|item| record(item, state)).collect()
}

pub(super) fn put(log: &Log, ledger: &Ledger, state: &str, mark: &Mark) {
    let (mut writer, doorbell, records) = (log.writer(Duration::ZERO), log.doorbell(), victims(state));
    mark.window(|| put_items(&mut writer, &doorbell, ledger, &records));
}

/// The ring has no room for this one: it waits for the owner.
fn put_late(log: &Log, ledger: &Ledger, _: &str, mark: &Mark) {
    let (mut writer, doorbell) = (log.writer(Duration::from_secs(3600)), log.doorbell());
    let records = [vec![VICTIMS.start as u8; 20 << 10]];
    mark.window(|| put_items(&mut writer, &doorbell, ledger, &records));
}

pub(super) fn take(log: &Log, ledger: &Ledger, _: &str, mark: &Mark) {
    let mut reader = log.reader();
    mark.window(|| {
        for _ in 0..2 {
            take_one(&mut reader, ledger).expect("it is whole");
        }
        reader.make_room();
    });
}

/// Takes a record, if there is one.
fn take_one(reader: &mut Reader, ledger: &Ledger) -> Result<bool, String> {
    let mut taken = Vec::with_capacity(32 << 10);
    ledger.taking();
    let item = take_record(reader, &mut taken)?;
    ledger.has_taken(item);
    reader.make_room();
    Ok(item.is_some())
}

fn take_record(reader: &mut Reader, taken: &mut Vec<u8>) -> Result<Option<u64>, String> {
    match reader.take(taken) {
        Ok(None) => Ok(None),
        Ok(Some(_)) if taken.iter().all(|byte| *byte == taken[0]) => Ok(taken.first().map(|item| (*item).into())),
        other => Err(format!("TORN: {other:?}, {} bytes", taken.len())),
    }
}

/// An owner that sleeps until there is a record.
fn listen(log: &Log, ledger: &Ledger, _: &str) -> Verdict {
    let (mut reader, doorbell) = (log.reader(), log.doorbell());
    ledger.falls_asleep();
    while reader.is_empty() {
        doorbell.sleep(|| !reader.is_empty());
    }
    take_one(&mut reader, ledger)?;
    ledger.wakes_up();
    Ok(())
}

pub(super) fn judge(log: &Log, ledger: &Ledger, state: &str) -> Verdict {
    let doorbell = log.doorbell();
    if ledger.n_sleepers() > ledger.n_buried() && !ledger.all_wake_up(patience() / 20) {
        // Nothing has come. What comes now is for whoever sleeps.
        put_items(&mut log.writer(Duration::ZERO), &doorbell, ledger, &[record(SURVIVORS, state)]);
        if !ledger.all_wake_up(patience()) {
            return Err("an owner sleeps beside a record".into());
        }
    }
    let (mut reader, mut taken, mut rest) = (log.reader(), Vec::new(), Vec::new());
    while let Some(item) = take_record(&mut reader, &mut taken)? {
        rest.push(item);
    }
    reader.make_room();
    // What fills a ring has higher numbers than what comes after it.
    let later = if state == "full" { rest.iter().position(|item| *item < FILL.start) } else { None };
    if !rest[..later.unwrap_or(rest.len())].is_sorted() || later.is_some_and(|later| later + 1 < rest.len()) {
        return Err(format!("out of order: {rest:?}"));
    }
    ledger.balance(&rest)
}
