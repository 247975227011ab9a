//! The ends of a pipe, of bytes and descriptors: what [`Sender`](super::Sender), [`Receiver`](super::Receiver) and
//! [`Connection`](super::Connection) wrap in types.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use kernel::{
    handover::{Packed, Parcel},
    shm::SharedMemory,
};
use serde::{Deserialize, Serialize, Serializer, de::DeserializeOwned};

use super::{
    RecvError,
    biased::WaitLimit,
    handles::NO_LIMIT,
    inbox::Inbox,
    lobby::{Lobby, Post},
    outbox::Outbox,
    ring::{self, FrameRing},
    socket::Socket,
    stop::{RecvStop, SendStop},
};

/// Which rings an end uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum EndKind {
    /// Duplex: writes the first ring, reads the second.
    A,
    /// Duplex: the other way round.
    B,
    /// Simplex: writes the only ring.
    Sender,
    /// Simplex: reads the only ring.
    Receiver,
}

/// What an end is made of, and what is handed over of it.
#[derive(Debug, Deserialize)]
pub(crate) struct Parts {
    pub(super) side: EndKind,
    pub(super) memory: SharedMemory,
    pub(super) socket: Socket,
    /// The peer can have at most about twice as many descriptors taken in that belong to no message.
    pub(super) max_fds: usize,
}

/// The parts of the two ends of a new pipe: `A` and `B`, or `Sender` and `Receiver`.
pub(super) fn pair(side_a: EndKind, side_b: EndKind) -> io::Result<(Parts, Parts)> {
    let (a, b) = Socket::pair()?;
    let memory = ring::create(if side_a == EndKind::A { 2 } else { 1 })?;
    let parts = |side, memory, socket| Parts { side, memory, socket, max_fds: NO_LIMIT };
    Ok((parts(side_a, memory.clone(), a), parts(side_b, memory, b)))
}

impl Parts {
    /// An end that sends and receives.
    pub(super) fn duplex(self) -> io::Result<(Outgoing, Incoming)> {
        let rings = ring::attach(&self.memory)?;
        let (outgoing, incoming) = match (self.side, &rings[..]) {
            (EndKind::A, [first, second]) => (first, second),
            (EndKind::B, [first, second]) => (second, first),
            _ => return Err(other_shape()),
        };
        let end = self.with_post(incoming, true);
        Ok((Outgoing::new(Arc::clone(&end), outgoing), Incoming::new(end, incoming)))
    }

    /// An end that only sends.
    pub(super) fn outgoing(self) -> io::Result<Outgoing> {
        match (self.side, &ring::attach(&self.memory)?[..]) {
            (EndKind::Sender, [only]) => Ok(Outgoing::new(self.with_post(only, false), only)),
            _ => Err(other_shape()),
        }
    }

    /// An end that only receives.
    pub(super) fn incoming(self) -> io::Result<Incoming> {
        match (self.side, &ring::attach(&self.memory)?[..]) {
            (EndKind::Receiver, [only]) => Ok(Incoming::new(self.with_post(only, true), only)),
            _ => Err(other_shape()),
        }
    }

    fn with_post(self, ring: &FrameRing, reads: bool) -> Arc<End> {
        let Self { side, memory, socket, max_fds } = self;
        let lobby = Lobby::new(socket, Post::new(ring.clone(), reads), max_fds);
        Arc::new(End { side, memory, max_fds, lobby })
    }
}

fn other_shape() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not an end of this kind of pipe")
}

/// What both directions of an end share.
#[derive(Debug)]
struct End {
    side: EndKind,
    memory: SharedMemory,
    max_fds: usize,
    lobby: Lobby,
}

impl Serialize for End {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct PartsRef<'a> {
            side: EndKind,
            memory: &'a SharedMemory,
            socket: &'a Socket,
            max_fds: usize,
        }
        let Self { side, memory, max_fds, lobby } = self;
        PartsRef { side: *side, memory, socket: lobby.socket(), max_fds: *max_fds }.serialize(serializer)
    }
}

/// The direction of an end that sends.
pub(crate) struct Outgoing {
    end: Arc<End>,
    outbox: Outbox,
}

impl Outgoing {
    fn new(end: Arc<End>, ring: &FrameRing) -> Self {
        Self { end, outbox: Outbox::new(ring.clone()) }
    }

    #[inline]
    pub(super) fn send<T: Serialize + DeserializeOwned>(&self, value: &T, limit: WaitLimit) -> Result<(), SendStop> {
        self.outbox.send(&self.end.lobby, value, limit)
    }

    /// Sends what is packed already.
    pub(super) fn send_parcel(&self, parcel: &Parcel<'_>) -> Result<(), SendStop> {
        self.outbox.send_parcel(&self.end.lobby, parcel, WaitLimit::FOREVER)
    }

    pub(super) fn send_packed(&self, packed: &Packed, limit: WaitLimit) -> Result<(), SendStop> {
        self.outbox.send_raw(&self.end.lobby, &packed.bytes, &packed.fds(), limit)
    }

    pub(super) fn send_bytes(&self, bytes: &[u8], limit: WaitLimit) -> Result<(), SendStop> {
        self.outbox.send_bytes(&self.end.lobby, bytes, limit)
    }

    pub(super) fn socket(&self) -> &Socket {
        self.end.lobby.socket()
    }
}

impl AsFd for Outgoing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }
}

impl Serialize for Outgoing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.end.serialize(serializer)
    }
}

/// The direction of an end that receives.
pub(crate) struct Incoming {
    // Dropped, and its socket so closed, before `inbox` says goodbye.
    end: Arc<End>,
    inbox: Inbox,
}

impl Incoming {
    fn new(end: Arc<End>, ring: &FrameRing) -> Self {
        Self { end, inbox: Inbox::new(ring.clone()) }
    }

    /// Receives a message as it came, and hands it to `f`.
    #[inline]
    pub(super) fn receive<R, E: From<RecvStop>>(
        &self,
        limit: WaitLimit,
        f: impl FnOnce(&[u8], Vec<OwnedFd>) -> Result<R, E>,
    ) -> Result<R, E> {
        self.inbox.receive(&self.end.lobby, limit, f)
    }

    pub(super) fn receive_bytes(&self, limit: WaitLimit) -> Result<Vec<u8>, RecvStop> {
        self.inbox.receive_bytes(&self.end.lobby, limit)
    }

    /// A descriptor that is readable while there may be something to receive.
    pub(super) fn pollable(&self) -> Result<BorrowedFd<'_>, RecvError> {
        self.inbox.pollable(&self.end.lobby)
    }

    pub(super) fn poll(&self, limit: WaitLimit) -> Result<bool, RecvError> {
        self.inbox.poll(&self.end.lobby, limit)
    }

    pub(super) fn socket(&self) -> &Socket {
        self.end.lobby.socket()
    }
}

impl AsFd for Incoming {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // Without descriptors to make it from, the socket must do, which may miss what has come already.
        self.pollable().unwrap_or_else(|_| self.socket().as_fd())
    }
}

impl Serialize for Incoming {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.end.serialize(serializer)
    }
}
