//! A pipe whose ends are shared by several processes, two of them slow: each message arrives once, whole and in the
//! order of its sender.

use std::time::Duration;

use ipc::{Connection, RecvTimeoutError, SendTimeoutError, TrySendError, pipe};
use serde::{Deserialize, Serialize};
use test_support::step::Mark;

use super::{PHASE, YOUNGEST};
use crate::{
    ledger::Ledger,
    operation::{Operation, Role, Row, Verdict},
};

/// Messages go from `near` to `far`.
#[derive(Serialize, Deserialize)]
struct Pipe {
    near: Connection<Message>,
    far: Connection<Message>,
}

/// An item, and what makes the message long.
#[derive(Debug, Serialize, Deserialize)]
struct Message(u64, String);

impl Message {
    fn of(item: u64, state: &str) -> Self {
        let letter = char::from(b'0' + (item % 64) as u8).to_string();
        Self(item, letter.repeat(if state.ends_with("large") { 3000 } else { 1 }))
    }

    fn item(self, state: &str) -> Result<u64, String> {
        if self.1 == Self::of(self.0, state).1 { Ok(self.0) } else { Err(format!("TORN: {self:?}")) }
    }
}

/// The items that the first actor, the second, the third process and helpers send.
const FIRSTS: u64 = 20;
const SECONDS: u64 = 22;
const THIRDS: u64 = 40;
const HELPERS: u64 = 80;
/// Counter: how many have helped.
const HELPED: usize = 0;

/// A slow process may have its turn at an end; then nobody else has.
const TURN: Duration = Duration::from_millis(3);

pub(super) fn operations() -> Vec<Box<dyn Row>> {
    let states = &["one", "one-large"];
    vec![
        row("pair/pipe/send+recv", &["empty", "one", "one-large"], send::<FIRSTS>, recv),
        row("pair/pipe/recv+send", states, recv, send::<SECONDS>),
        row("pair/pipe/send+send", states, send::<FIRSTS>, send::<SECONDS>),
        row("pair/pipe/recv+recv", states, recv, recv),
        row("pair/pipe/try_send+try_recv", states, try_send, try_recv),
    ]
}

type Life = fn(&Pipe, &Ledger, &str, &Mark);

fn row(name: &'static str, states: &'static [&'static str], first: Life, second: Life) -> Box<dyn Row> {
    let operation = Operation::new(name, states, world, first, survive).beside(second).only_pair().opaque();
    operation.with(Role::Worker, work).with(Role::Helper, help).boxed()
}

fn world(state: &str, ledger: &Ledger) -> Pipe {
    let (near, far) = pipe().expect("the maker can make a pipe");
    for item in 0..u64::from(state.starts_with("one")) {
        ledger.putting(item);
        near.send(&Message::of(item, state)).expect("there is room");
        ledger.has_put(item);
    }
    Pipe { near, far }
}

fn send<const ITEM: u64>(pipe: &Pipe, ledger: &Ledger, state: &str, mark: &Mark) {
    let message = Message::of(ITEM, state);
    mark.window(|| {
        ledger.putting(ITEM);
        pipe.near.send(&message).expect("the other end is there");
        ledger.has_put(ITEM);
    });
}

fn try_send(pipe: &Pipe, ledger: &Ledger, state: &str, mark: &Mark) {
    let message = Message::of(FIRSTS, state);
    mark.window(|| {
        ledger.putting(FIRSTS);
        match pipe.near.try_send(&message) {
            Ok(()) => ledger.has_put(FIRSTS),
            Err(e) => {
                assert!(matches!(e, TrySendError::Full), "{e}");
                ledger.has_not_put(FIRSTS);
            }
        }
    });
}

fn recv(pipe: &Pipe, ledger: &Ledger, state: &str, mark: &Mark) {
    mark.window(|| {
        ledger.taking();
        let item = pipe.far.recv().expect("the other end is there").item(state).expect("whole");
        ledger.has_taken(item);
    });
}

fn try_recv(pipe: &Pipe, ledger: &Ledger, state: &str, mark: &Mark) {
    mark.window(|| {
        ledger.taking();
        let item = pipe.far.try_recv().ok().map(|message| message.item(state).expect("whole"));
        ledger.has_taken(item);
    });
}

/// The third process: sends one and receives one, if it gets its turns.
fn work(pipe: &Pipe, ledger: &Ledger, state: &str) -> Verdict {
    let item = THIRDS + ledger.get(PHASE);
    ledger.add(PHASE);
    send_in_turn(pipe, ledger, state, item)?;
    receive_in_turn(pipe, ledger, state)
}

fn send_in_turn(pipe: &Pipe, ledger: &Ledger, state: &str, item: u64) -> Verdict {
    ledger.putting(item);
    match pipe.near.send_timeout(&Message::of(item, state), TURN) {
        Ok(()) => ledger.has_put(item),
        Err(SendTimeoutError::TimedOut) => ledger.has_not_put(item),
        Err(e) => return Err(format!("send: {e}")),
    }
    Ok(())
}

fn receive_in_turn(pipe: &Pipe, ledger: &Ledger, state: &str) -> Verdict {
    ledger.taking();
    match pipe.far.recv_timeout(TURN) {
        Ok(message) => {
            let item = message.item(state)?;
            ledger.has_taken(item);
            if (THIRDS..HELPERS).contains(&item) && ledger.raise(YOUNGEST, item) > item {
                return Err(format!("item {item} came after one that was sent later"));
            }
        }
        Err(RecvTimeoutError::TimedOut) => ledger.has_taken(None),
        Err(e) => return Err(format!("recv: {e}")),
    }
    Ok(())
}

/// Wakes an actor that sleeps in `recv`.
fn help(pipe: &Pipe, ledger: &Ledger, state: &str) -> Verdict {
    let item = HELPERS + ledger.get(HELPED);
    ledger.add(HELPED);
    send_in_turn(pipe, ledger, state, item)
}

/// Everything that was sent is there, and the pipe works on.
fn survive(pipe: &Pipe, ledger: &Ledger, state: &str) -> Verdict {
    let mut rest = Vec::new();
    loop {
        match pipe.far.recv_timeout(20 * TURN) {
            Ok(message) => rest.push(message.item(state)?),
            Err(RecvTimeoutError::TimedOut) => break,
            Err(e) => return Err(format!("recv: {e}")),
        }
    }
    ledger.balance(&rest)?;
    for i in 0..2 {
        pipe.near.send_timeout(&Message::of(i, state), crate::cast::patience()).map_err(|e| format!("send: {e}"))?;
        let item = pipe.far.recv_timeout(crate::cast::patience()).map_err(|e| format!("recv: {e}"))?.item(state)?;
        if item != i {
            return Err(format!("sent {i}, received {item}"));
        }
    }
    Ok(())
}
