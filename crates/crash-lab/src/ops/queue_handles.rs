//! `ipc::Queue` of messages with handles: each comes with the very descriptor that it was put with; nobody waits for one who
//! stands still, not even in the store where the descriptors are.

use std::{
    fs::File,
    os::{fd::AsFd, unix::fs::FileExt},
};

use ipc::Queue;
use proc_core::{handover::Fd, shm::SharedMemory};
use serde::{Deserialize, Serialize};
use test_support::step::Mark;

use super::queue::{CAPACITY, Message, VICTIMS, arrive, fill, get, recover, stand_by, survive, try_get, wait, warm_up};
use crate::{
    ledger::Ledger,
    operation::{Operation, Role, Row},
};

/// An item, and a file in which it stands.
#[derive(Serialize, Deserialize)]
pub(super) struct Handled(u64, Fd);

impl Message for Handled {
    const MAY_BE_BUSY: bool = true;

    fn of(item: u64) -> Self {
        let memory = SharedMemory::new(size_of::<u64>()).expect("there is memory for one item");
        let file = File::from(memory.as_fd().try_clone_to_owned().expect("there is room for a descriptor"));
        file.write_all_at(&item.to_ne_bytes(), 0).expect("the file is as long");
        Self(item, file.into())
    }

    fn item(self) -> Result<u64, String> {
        let mut bytes = [0; size_of::<u64>()];
        let read = File::from(self.1.0).read_exact_at(&mut bytes, 0);
        match u64::from_ne_bytes(bytes) {
            there if read.is_ok() && there == self.0 => Ok(there),
            there => Err(format!("MIXED UP: item {} came with the handle of {there}: {read:?}", self.0)),
        }
    }
}

pub(crate) fn operations() -> Vec<Box<dyn Row>> {
    let gets = &["one", "full", "wrapped"];
    vec![
        row("queue/put-handle", &["empty", "full-1"], |queue, ledger, state, mark| {
            begin(queue, ledger, state);
            put_handle::<VICTIMS>(queue, ledger, state, mark);
        }),
        row("queue/get-handle", gets, |queue, ledger, state, mark| {
            begin(queue, ledger, state);
            get(queue, ledger, state, mark);
        }),
        row("queue/try_get-handle", gets, |queue, ledger, state, mark| {
            begin(queue, ledger, state);
            try_get(queue, ledger, state, mark);
        }),
    ]
}

fn row(
    name: &'static str,
    states: &'static [&'static str],
    victim: fn(&Queue<Handled>, &Ledger, &str, &Mark),
) -> Box<dyn Row> {
    let empty = |_: &str, _: &Ledger| Queue::new(CAPACITY as usize).expect("the maker can make a queue");
    let operation = Operation::new(name, states, empty, victim, survive::<Handled>);
    let operation = operation.with(Role::Arrival, arrive).with(Role::Bystander, stand_by).with(Role::Waiter, wait);
    // The store is a socket, of which there is no copy.
    operation.recoverer(recover).opaque().boxed()
}

/// Brings the queue into its state. The victim does, for in the store, a socket, is what the experiment before has left: a
/// message that comes and goes has it removed.
fn begin(queue: &Queue<Handled>, ledger: &Ledger, state: &str) {
    assert!(queue.try_put(Handled::of(0)).is_ok() && queue.try_get().is_ok());
    fill(queue, ledger, state);
}

/// As the others put, but that its file is there before.
pub(super) fn put_handle<const ITEM: u64>(queue: &Queue<Handled>, ledger: &Ledger, state: &str, mark: &Mark) {
    warm_up::<Handled>(state);
    let message = Handled::of(ITEM);
    mark.window(|| {
        ledger.putting(ITEM);
        queue.put(message).map_err(|e| e.to_string()).expect("an open queue takes it");
        ledger.has_put(ITEM);
    });
}
