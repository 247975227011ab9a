//! Messages at the limits of each encoding: of no byte, of one, and of one less than fits, as much as fits, and one
//! more. What was acknowledged arrives whole.

use std::os::fd::OwnedFd;

use ipc::{Connection, Queue, RecvError, pipe};
use lane::{LaneHandle, OwnerLane};
use nix::sys::eventfd::{EfdFlags, EventFd};
use proc_core::Process;
use serde::{Deserialize, Serialize};
use test_support::step::{self, Mark};

use crate::{
    cast::patience,
    ledger::Ledger,
    operation::{Operation, Role, Row, Verdict},
};

/// Counters: the call was begun, and has returned.
const BEGUN: usize = 0;
const DONE: usize = 1;

pub(crate) fn operations() -> Vec<Box<dyn Row>> {
    vec![in_a_queue(), in_a_lane(), in_a_pipe()]
}

/// The state is the number of bytes.
fn bytes_of(state: &str) -> Vec<u8> {
    let n: usize = state.parse().expect("states are numbers");
    (0..n).map(|i| (i * 7 + n) as u8).collect()
}

/// Nothing or one message came; a message that was acknowledged came, and what came is whole.
fn judge(came: &[Vec<u8>], ledger: &Ledger, state: &str) -> Verdict {
    let n_came = came.len() as u64;
    if !(ledger.get(DONE)..=ledger.get(BEGUN)).contains(&n_came) {
        return Err(format!("{n_came} came of {} acknowledged", ledger.get(DONE)));
    }
    match came.iter().find(|bytes| **bytes != bytes_of(state)) {
        Some(torn) => Err(format!("TORN: {} bytes, or others", torn.len())),
        None => Ok(()),
    }
}

/// A word, a cell, and a fitted block hold 8, 512 and 4,352 bytes.
fn in_a_queue() -> Box<dyn Row> {
    let states = &["0", "1", "7", "8", "9", "511", "512", "513", "4352", "4353"];
    let put: fn(&Queue<()>, &Ledger, &str, &Mark) = |queue, ledger, state, mark| {
        let bytes = bytes_of(state);
        mark.window(|| {
            ledger.add(BEGUN);
            queue.put_bytes(&bytes).expect("there is room");
            ledger.add(DONE);
        });
    };
    let world: fn(&str, &Ledger) -> Queue<()> = |_, _| Queue::new(4).expect("the maker can make a queue");
    let operation = Operation::new("sizes/queue", states, world, put, |queue, ledger, state| {
        let mut came = Vec::new();
        while !queue.is_empty() {
            came.push(queue.get_bytes().map_err(|e| e.to_string())?);
        }
        judge(&came, ledger, state)?;
        queue.put_bytes(&bytes_of(state)).map_err(|e| e.to_string())?;
        if queue.get_bytes().is_ok_and(|bytes| bytes == bytes_of(state)) { Ok(()) } else { Err("the next one".into()) }
    });
    operation.recoverer(put).boxed()
}

/// A lane, from the worker's side.
#[derive(Serialize, Deserialize)]
struct Lane(LaneHandle);

/// A slot holds 224 bytes.
fn in_a_lane() -> Box<dyn Row> {
    let world: fn(&str, &Ledger) -> Lane = |_, _| {
        let bell: OwnedFd = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).expect("the maker can make an eventfd").into();
        let (owner, handle) = OwnerLane::new(bell).expect("the maker can make a lane");
        owner.stop();
        Lane(handle)
    };
    let push: fn(&Lane, &Ledger, &str, &Mark) = |lane, ledger, state, mark| {
        let mut owner = OwnerLane::adopt(&lane.0).expect("there are descriptors");
        let bytes = bytes_of(state);
        mark.window(|| {
            ledger.add(BEGUN);
            owner.push(0, None, &bytes).expect("there is memory").expect("there is room");
            owner.notify();
            ledger.add(DONE);
        });
    };
    let operation =
        Operation::new("sizes/lane", &["0", "1", "223", "224", "225"], world, push, |lane, ledger, state| {
            let mut worker = lane.0.open().map_err(|e| e.to_string())?;
            let mut came = Vec::new();
            while let Some(mut claim) = worker.claim() {
                let mut task = Vec::new();
                claim.read(&mut task).map_err(|e| e.to_string())?;
                claim.finish(0, &task).map_err(|e| e.to_string())?;
                came.push(task);
            }
            judge(&came, ledger, state)?;
            let mut owner = OwnerLane::adopt(&lane.0).map_err(|e| e.to_string())?;
            let mut arena = Vec::new();
            while let Some(ended) = owner.poll(&mut arena) {
                if arena[ended.bytes.map_err(|e| e.to_string())?] != bytes_of(state) {
                    return Err("TORN: the result".into());
                }
            }
            Ok(())
        });
    operation.boxed()
}

/// 256 bytes are copied without the heap; a frame holds 16,376.
fn in_a_pipe() -> Box<dyn Row> {
    fn peer(end: Connection<()>, ledger: Ledger, state: String) {
        let bytes = bytes_of(&state);
        ledger.stand_ready(std::process::id(), true).expect("somebody watches");
        step::breakpoint();
        ledger.add(BEGUN);
        end.send_bytes(&bytes).expect("the launcher is there");
        ledger.add(DONE);
        ledger.over();
    }
    let states = &["0", "1", "255", "256", "257", "16375", "16376", "16377"];
    let operation = Operation::nothing("sizes/pipe", states).with(Role::Launcher, |(), ledger, state| {
        let (mine, theirs) = pipe::<()>().map_err(|e| e.to_string())?;
        let arguments = (theirs, ledger.clone(), state.to_owned());
        let process = Process::spawn(peer, arguments).map_err(|e| e.to_string())?;
        let mut came = Vec::new();
        let end = loop {
            match mine.recv_bytes() {
                Ok(bytes) => came.push(bytes),
                Err(end) => break end,
            }
        };
        let _ = process.wait_timeout(patience());
        if !matches!(end, RecvError::Closed) {
            return Err(format!("{end} where the end was to be seen"));
        }
        judge(&came, ledger, state)
    });
    operation.boxed()
}
