//! Pipes between two processes.
//!
//! [`pipe`] makes two ends that both send and receive, [`channel`] one that sends and one that receives. Messages are
//! values; see [`Connection`] for what becomes of them when a process dies.
//!
//! How it works is in `README.md` beside this file.

mod awaiting;
mod biased;
mod claim;
mod connection;
mod end;
mod error;
mod forms;
pub(crate) mod handles;
pub(crate) mod handshake;
mod inbox;
#[cfg(feature = "inspect")]
pub(crate) mod inspect;
mod iter;
mod layout;
mod lobby;
mod outbox;
mod pollable;
mod ring;
mod simplex;
pub(crate) mod socket;
mod stop;
mod stream;
#[cfg(test)]
mod tests;
mod turn;
mod users;

pub use self::{
    awaiting::{RecvFuture, SendFuture},
    connection::{Connection, pipe},
    error::{RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError},
    iter::{RecvIntoIter, RecvIter},
    simplex::{Receiver, Sender, channel},
    stream::{StreamReader, StreamWriter},
};
