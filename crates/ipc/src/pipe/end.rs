//! One end of a pipe, of bytes and descriptors: what [`Connection`](super::Connection) and its kin wrap in types.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use proc_core::shm::SharedMemory;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    handles::NO_LIMIT,
    inbox::Inbox,
    lobby::{Lobby, Post},
    outbox::Outbox,
    ring::{self, Ring},
    socket::Socket,
};

/// Which rings an end uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Side {
    /// Duplex: writes the first ring, reads the second.
    A,
    /// Duplex: the other way round.
    B,
    /// Simplex: writes the only ring.
    Sender,
    /// Simplex: reads the only ring.
    Receiver,
}

pub(crate) struct End {
    side: Side,
    memory: SharedMemory,
    /// How many descriptors wait for their message at most.
    max_fds: usize,
    // Dropped, and so closed, before `inbox` says goodbye.
    pub(super) lobby: Lobby,
    outbox: Option<Outbox>,
    inbox: Option<Inbox>,
}

impl End {
    /// Two ends: `A` and `B`, or `Sender` and `Receiver`.
    pub(super) fn pair(duplex: bool) -> io::Result<(Self, Self)> {
        let (a, b) = Socket::pair()?;
        let memory = ring::create(if duplex { 2 } else { 1 })?;
        let (side_a, side_b) = if duplex { (Side::A, Side::B) } else { (Side::Sender, Side::Receiver) };
        Ok((Self::new(memory.clone(), a, side_a)?, Self::new(memory, b, side_b)?))
    }

    pub(super) fn new(memory: SharedMemory, socket: Socket, side: Side) -> io::Result<Self> {
        Self::with_limit(memory, socket, side, NO_LIMIT)
    }

    /// An end to which the peer can have at most about twice `max_fds` descriptors taken in that belong to no message.
    pub(super) fn with_limit(memory: SharedMemory, socket: Socket, side: Side, max_fds: usize) -> io::Result<Self> {
        let rings = ring::attach(&memory)?;
        let (outgoing, incoming): (Option<&Ring>, Option<&Ring>) = match (side, &rings[..]) {
            (Side::A, [first, second]) => (Some(first), Some(second)),
            (Side::B, [first, second]) => (Some(second), Some(first)),
            (Side::Sender, [only]) => (Some(only), None),
            (Side::Receiver, [only]) => (None, Some(only)),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "shared memory holds a pipe of another shape")),
        };
        let post = incoming.or(outgoing).cloned().map(|ring| Post::new(ring, incoming.is_some()));
        Ok(Self {
            side,
            lobby: Lobby::new(socket, post.expect("an end has a ring"), max_fds),
            outbox: outgoing.cloned().map(Outbox::new),
            inbox: incoming.cloned().map(Inbox::new),
            memory,
            max_fds,
        })
    }

    #[inline]
    pub(super) fn outbox(&self) -> &Outbox {
        self.outbox.as_ref().expect("only ends with an outbox have types that send")
    }

    #[inline]
    pub(super) fn inbox(&self) -> &Inbox {
        self.inbox.as_ref().expect("only ends with an inbox have types that receive")
    }

    pub(super) fn side(&self) -> Side {
        self.side
    }
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.inbox {
            // Without descriptors to make it from, the socket must do, which may miss what has come already.
            Some(inbox) => inbox.pollable(&self.lobby).unwrap_or_else(|_| self.lobby.socket().as_fd()),
            None => self.lobby.socket().as_fd(),
        }
    }
}

impl Serialize for End {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.side, &self.memory, self.lobby.socket(), self.max_fds).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for End {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (side, memory, socket, max_fds): (Side, SharedMemory, Socket, usize) =
            Deserialize::deserialize(deserializer)?;
        Self::with_limit(memory, socket, side, max_fds).map_err(de::Error::custom)
    }
}
