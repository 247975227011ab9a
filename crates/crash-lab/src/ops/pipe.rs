//! `ipc::{pipe, channel}`: what was sent is received, whole, once and in order; then the other end learns at once that this one is
//! gone.
//!
//! Only the kernel can say that an end is gone, so each point has a pipe of its own: the launcher keeps one end and gives
//! the other to the victim, a process that it starts.

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use ipc::{Connection, Receiver, RecvTimeoutError, SendError, SendTimeoutError, Sender, TrySendError, channel, pipe};
use proc_core::{Process, Target};
use serde::{Deserialize, Serialize};
use test_support::step;

use crate::{
    cast::patience,
    ledger::Ledger,
    operation::{Operation, Role, Row, Verdict},
};

/// What the victim sends in its window; before that it sends 0 and 1, unless it shares its end.
const VICTIMS: u64 = 20;

/// What the launcher sends through the end that it shares with the victim: before it starts, and when it is dead.
const BEFORE: u64 = 30;
const AFTERWARDS: u64 = 31;

fn is_shared(state: &str) -> bool {
    state.starts_with("shared")
}

/// An item, and what makes the message long.
#[derive(Debug, Serialize, Deserialize)]
struct Message(u64, String);

impl Message {
    fn new(item: u64, state: &str) -> Self {
        let letter = char::from(b'0' + item as u8).to_string();
        Self(item, letter.repeat(if state.ends_with("large") { 3000 } else { 1 }))
    }
}

pub(crate) fn operations() -> Vec<Box<dyn Row>> {
    vec![send(), try_send(), write_stream(), close(), receive(), channel_send(), channel_receive()]
}

type Arguments = (Connection<Message>, Ledger, String);

/// Starts the peer with one end, and takes everything out of the other: while the peer is at work in the states called
/// "waiter", else when it is dead.
fn receive_all(peer: impl Target<Arguments, Output = ()>, ledger: &Ledger, state: &str) -> Verdict {
    let (mine, theirs) = pipe::<Message>().map_err(|e| e.to_string())?;
    let shared = is_shared(state).then(|| theirs.clone());
    if let Some(shared) = &shared {
        shared.send(&Message::new(BEFORE, state)).map_err(|e| e.to_string())?;
        let _: Message = mine.recv().map_err(|e| e.to_string())?;
    }
    let process = Process::spawn(peer, (theirs, ledger.clone(), state.to_owned())).map_err(|e| e.to_string())?;
    if !state.starts_with("waiter") {
        let _ = process.wait_timeout(5 * patience());
    }
    if let Some(shared) = &shared {
        shared.send_timeout(&Message::new(AFTERWARDS, state), patience()).map_err(|e| format!("shared end: {e}"))?;
    }
    drop(shared);
    take_all(|limit| mine.recv_timeout(limit), ledger, state)?;
    match mine.send_timeout(&Message::new(1, state), patience()) {
        Err(SendTimeoutError::Closed) => Ok(()),
        other => Err(format!("sent to the dead: {other:?}")),
    }
}

/// Everything that was sent, to the end.
fn take_all(receive: impl Fn(Duration) -> Result<Message, RecvTimeoutError>, ledger: &Ledger, state: &str) -> Verdict {
    let mut rest = Vec::new();
    let end = loop {
        match receive(3 * patience()) {
            Ok(message) if message.1 == Message::new(message.0, state).1 => rest.push(message.0),
            Ok(message) => return Err(format!("TORN: {message:?}")),
            Err(end) => break end,
        }
    };
    if !matches!(end, RecvTimeoutError::Closed) {
        return Err(format!("{end} where the end was to be seen"));
    }
    if !rest.is_sorted() {
        return Err(format!("out of order: {rest:?}"));
    }
    if is_shared(state) && rest.pop() != Some(AFTERWARDS) {
        return Err(format!("what the survivor sent last came in the middle, or not at all: {rest:?}"));
    }
    ledger.balance(&rest)
}

fn prepare(send: impl Fn(&Message) -> Result<(), SendError>, ledger: &Ledger, state: &str) {
    for item in (0..2).filter(|_| !is_shared(state)) {
        ledger.putting(item);
        send(&Message::new(item, state)).expect("the launcher is there");
        ledger.has_put(item);
    }
    ledger.stand_ready(std::process::id(), true).expect("somebody watches");
}

fn send() -> Box<dyn Row> {
    fn peer(end: Connection<Message>, ledger: Ledger, state: String) {
        prepare(|message| end.send(message), &ledger, &state);
        step::breakpoint();
        ledger.putting(VICTIMS);
        end.send(&Message::new(VICTIMS, &state)).expect("the launcher is there");
        ledger.has_put(VICTIMS);
        ledger.over();
    }
    let states = &["late", "waiter", "shared", "late-large", "waiter-large", "shared-large"];
    let operation = Operation::nothing("pipe/send", states);
    operation.with(Role::Launcher, |(), ledger, state| receive_all(peer, ledger, state)).boxed()
}

fn try_send() -> Box<dyn Row> {
    fn peer(end: Connection<Message>, ledger: Ledger, state: String) {
        prepare(|message| end.send(message), &ledger, &state);
        step::breakpoint();
        ledger.putting(VICTIMS);
        match end.try_send(&Message::new(VICTIMS, &state)) {
            Ok(()) => ledger.has_put(VICTIMS),
            Err(TrySendError::Full) => ledger.has_not_put(VICTIMS),
            Err(e) => panic!("try_send: {e}"),
        }
        ledger.over();
    }
    let operation = Operation::nothing("pipe/try_send", &["late", "waiter", "shared", "late-large", "shared-large"]);
    operation.with(Role::Launcher, |(), ledger, state| receive_all(peer, ledger, state)).boxed()
}

/// What is written in one call is read whole, or not at all.
fn write_stream() -> Box<dyn Row> {
    /// Counters: the call was begun, and has returned.
    const BEGUN: usize = 0;
    const DONE: usize = 1;

    fn text(state: &str) -> Vec<u8> {
        vec![b'x'; if state == "large" { 9000 } else { 40 }]
    }

    fn peer(end: Connection<()>, ledger: Ledger, state: String) {
        let (mut writer, text) = (end.writer(), text(&state));
        ledger.stand_ready(std::process::id(), true).expect("somebody watches");
        step::breakpoint();
        ledger.add(BEGUN);
        writer.write_all(&text).expect("the launcher is there");
        ledger.add(DONE);
        ledger.over();
    }
    let operation = Operation::nothing("pipe/stream", &["small", "large"]);
    let operation = operation.with(Role::Launcher, |(), ledger, state| {
        let (mine, theirs) = pipe::<()>().map_err(|e| e.to_string())?;
        let arguments = (theirs, ledger.clone(), state.to_owned());
        let process = Process::spawn(peer, arguments).map_err(|e| e.to_string())?;
        let mut came = Vec::new();
        mine.reader().read_to_end(&mut came).map_err(|e| e.to_string())?;
        let _ = process.wait_timeout(patience());
        let is_whole = came == text(state) && ledger.get(BEGUN) > 0;
        if is_whole || came.is_empty() && ledger.get(DONE) == 0 {
            Ok(())
        } else {
            Err(format!("{} bytes of {} came", came.len(), text(state).len()))
        }
    });
    operation.boxed()
}

fn close() -> Box<dyn Row> {
    fn peer(end: Connection<Message>, ledger: Ledger, state: String) {
        prepare(|message| end.send(message), &ledger, &state);
        step::breakpoint();
        drop(end);
        ledger.over();
    }
    let operation = Operation::nothing("pipe/close", &["late", "waiter"]);
    operation.with(Role::Launcher, |(), ledger, state| receive_all(peer, ledger, state)).boxed()
}

/// The victim takes one of two messages out; whoever sends more learns that it is gone.
fn receive() -> Box<dyn Row> {
    fn peer(end: Connection<Message>, ledger: Ledger, state: String) {
        if !is_shared(&state) {
            let first = end.recv().expect("the launcher sent two");
            assert_eq!(first.0, 0);
        }
        ledger.stand_ready(std::process::id(), true).expect("somebody watches");
        step::breakpoint();
        let second = end.recv().expect("the launcher sent two");
        assert_eq!(second.0, 1);
        ledger.over();
    }
    let operation = Operation::nothing("pipe/recv", &["two", "shared", "two-large", "shared-large"]);
    let operation = operation.with(Role::Launcher, |(), ledger, state| {
        let (mine, theirs) = pipe::<Message>().map_err(|e| e.to_string())?;
        for item in 0..2 {
            mine.send(&Message::new(item, state)).map_err(|e| e.to_string())?;
        }
        let shared = is_shared(state).then(|| theirs.clone());
        if let Some(shared) = &shared {
            let _: Message = shared.recv().map_err(|e| e.to_string())?;
        }
        let process = Process::spawn(peer, (theirs, ledger.clone(), state.to_owned())).map_err(|e| e.to_string())?;
        if let Some(shared) = shared {
            let _ = process.wait_timeout(5 * patience());
            mine.send(&Message::new(AFTERWARDS, state)).map_err(|e| e.to_string())?;
            // The one that the victim was taking may be gone with it.
            let got = match shared.recv_timeout(patience()).map_err(|e| format!("shared end: {e}"))?.0 {
                1 => shared.recv_timeout(patience()).map_err(|e| format!("shared end: {e}"))?.0,
                got => got,
            };
            if got != AFTERWARDS {
                return Err(format!("the survivor received {got}"));
            }
        }
        match mine.recv_timeout(3 * patience()) {
            Err(RecvTimeoutError::Closed) => {}
            other => return Err(format!("the dead sent {other:?}")),
        }
        let _ = process.wait_timeout(patience());
        match mine.send_timeout(&Message::new(2, state), patience()) {
            Err(SendTimeoutError::Closed) => Ok(()),
            other => Err(format!("sent to the dead: {other:?}")),
        }
    });
    operation.boxed()
}

fn channel_send() -> Box<dyn Row> {
    fn peer(end: Sender<Message>, ledger: Ledger, state: String) {
        prepare(|message| end.send(message), &ledger, &state);
        step::breakpoint();
        ledger.putting(VICTIMS);
        end.send(&Message::new(VICTIMS, &state)).expect("the launcher is there");
        ledger.has_put(VICTIMS);
        drop(end);
        ledger.over();
    }
    let operation = Operation::nothing("channel/send+close", &["late", "waiter"]);
    let operation = operation.with(Role::Launcher, |(), ledger, state| {
        let (theirs, mine) = channel::<Message>().map_err(|e| e.to_string())?;
        let process = Process::spawn(peer, (theirs, ledger.clone(), state.to_owned())).map_err(|e| e.to_string())?;
        if state == "late" {
            let _ = process.wait_timeout(5 * patience());
        }
        take_all(|limit| mine.recv_timeout(limit), ledger, state)
    });
    operation.boxed()
}

/// The victim takes one of two messages out; whoever sends more learns that it is gone.
fn channel_receive() -> Box<dyn Row> {
    fn peer(end: Receiver<Message>, ledger: Ledger) {
        assert_eq!(end.recv().expect("the launcher sent two").0, 0);
        ledger.stand_ready(std::process::id(), true).expect("somebody watches");
        step::breakpoint();
        assert_eq!(end.recv().expect("the launcher sent two").0, 1);
        drop(end);
        ledger.over();
    }
    let operation = Operation::nothing("channel/recv+close", &["two"]);
    let operation = operation.with(Role::Launcher, |(), ledger, state| {
        let (mine, theirs) = channel::<Message>().map_err(|e| e.to_string())?;
        let process = Process::spawn(peer, (theirs, ledger.clone())).map_err(|e| e.to_string())?;
        for item in 0..2 {
            mine.send(&Message::new(item, state)).map_err(|e| e.to_string())?;
        }
        let _ = process.wait_timeout(5 * patience());
        match mine.send_timeout(&Message::new(2, state), patience()) {
            Err(SendTimeoutError::Closed) => Ok(()),
            other => Err(format!("sent to the dead: {other:?}")),
        }
    });
    operation.boxed()
}
