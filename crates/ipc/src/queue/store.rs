//! Where the descriptors of messages are while the messages are in the queue: in the kernel, which keeps them whoever dies.
//!
//! A packet of the store's socket has the descriptors of one message, and a ticket that names the block in which the
//! message lies. As long as the block is somebody's or in the ring, and says the same ticket, the packet is wanted; once
//! it is not, whoever comes across it removes it. README.md has the protocol.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use kernel::futex::Deadline;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use sync::process::{Lock, LockGuard};

use super::{ring::Stop, word::BlockId};
use crate::pipe::socket::{MAX_FDS, Packet, Socket};

/// Most descriptors of a message.
pub(crate) const MAX_MESSAGE_FDS: usize = MAX_FDS;

/// More room than the kernel gives unasked, as far as it may be had.
const ROOM_BYTES: usize = 1 << 20;
/// What the kernel counts for a packet, at least.
const LEAST_PACKET_BYTES: usize = 256;

/// One a queue whose messages may hold handles. Takes three descriptors.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Store {
    entrance: Socket,
    exit: Socket,
    /// Held by whoever looks through the packets or removes some.
    lock: Lock<()>,
}

/// What a packet has in common with its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(pub(crate) u64);

impl Ticket {
    /// `number` tells the messages of a block apart.
    pub(crate) fn new(block: BlockId, number: u32) -> Self {
        Self(block.to_bits() << 32 | u64::from(number) | 1)
    }

    /// Whether it can be one.
    pub(crate) fn is_valid(self) -> bool {
        self.0 & 1 != 0
    }

    pub(crate) fn block(self) -> BlockId {
        BlockId::from_bits(self.0 >> 32)
    }
}

impl Store {
    pub(crate) fn new() -> io::Result<Self> {
        let (entrance, exit) = Socket::pair()?;
        entrance.ask_for_room(ROOM_BYTES);
        Ok(Self { entrance, exit, lock: Lock::new(())? })
    }

    /// Stores the descriptors of a message that is about to be put. `Level` if there is no room now.
    pub(crate) fn put(
        &self,
        ticket: Ticket,
        fds: &[BorrowedFd<'_>],
        is_wanted: impl Fn(Ticket) -> bool,
    ) -> Result<(), Stop> {
        if !self.has_room()? {
            self.tidy(is_wanted);
            if !self.has_room()? {
                return Err(Stop::Level);
            }
        }
        self.send(ticket, fds).map_err(|e| if e == Errno::EAGAIN { Stop::Level } else { e.into() })
    }

    /// Copies of the descriptors of a message.
    pub(crate) fn copy(&self, ticket: Ticket) -> Result<Vec<OwnedFd>, Stop> {
        let _lock = self.lock();
        self.find(ticket).map(|(fds, _)| fds)
    }

    /// The descriptors of a message that its caller has taken, and then lets go of by `release`.
    pub(crate) fn take(
        &self,
        ticket: Ticket,
        release: impl FnOnce(),
        is_wanted: impl Fn(Ticket) -> bool,
    ) -> Result<Vec<OwnedFd>, Stop> {
        let lock = self.lock();
        let (fds, is_first) = self.find(ticket)?;
        if is_first {
            self.remove_first()?;
        }
        release();
        if !is_first {
            self.remove_unwanted(&lock, is_wanted);
        }
        Ok(fds)
    }

    /// Removes the first packets, as long as nobody wants them: what a message leaves here that is done with.
    pub(crate) fn tidy(&self, is_wanted: impl Fn(Ticket) -> bool) {
        self.remove_unwanted(&self.lock(), is_wanted);
    }

    /// Removes all packets that nobody wants: what the dead leave here, and what lies behind a message that is long wanted.
    pub(crate) fn clear(&self, is_wanted: impl Fn(Ticket) -> bool) {
        let lock = self.lock();
        if !self.has_unwanted(&is_wanted).unwrap_or(false) {
            return;
        }
        let mut first_moved = None;
        // The socket may be anybody's who has the queue: there is an end to it, whatever comes in.
        for _ in 0..=self.n_bytes().unwrap_or(0) / LEAST_PACKET_BYTES {
            self.remove_unwanted(&lock, &is_wanted);
            let Ok(Some((ticket, fds))) = self.look_first(MAX_FDS) else { return };
            if first_moved == Some(ticket) {
                return;
            }
            first_moved.get_or_insert(ticket);
            // To the end, and only then away from the beginning: whoever is killed in between leaves it there twice.
            let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            if self.send(ticket, &fds).is_err() || self.remove_first().is_err() {
                return;
            }
        }
    }

    /// Whether they are the first here, too.
    fn find(&self, ticket: Ticket) -> Result<(Vec<OwnedFd>, bool), Stop> {
        self.exit.look_at_first()?;
        for nth in 0..=self.n_bytes()? / LEAST_PACKET_BYTES {
            match self.exit.look(MAX_FDS)? {
                Packet::Fds(of, fds) if of == ticket.0 => return Ok((fds, nth == 0)),
                Packet::Fds(..) | Packet::Bell => {}
                Packet::End | Packet::Nothing => break,
            }
        }
        // Another process has taken them, against the rules.
        Err(Stop::Damaged)
    }

    fn has_unwanted(&self, is_wanted: impl Fn(Ticket) -> bool) -> nix::Result<bool> {
        self.exit.look_at_first()?;
        for _ in 0..=self.n_bytes()? / LEAST_PACKET_BYTES {
            match self.exit.look(0)? {
                Packet::Fds(ticket, _) if is_wanted(Ticket(ticket)) => {}
                Packet::Fds(..) | Packet::Bell => return Ok(true),
                Packet::End | Packet::Nothing => break,
            }
        }
        Ok(false)
    }

    fn remove_unwanted(&self, _lock: &LockGuard<'_, ()>, is_wanted: impl Fn(Ticket) -> bool) {
        // Without success the next one does it.
        while let Ok(Some((ticket, _))) = self.look_first(0)
            && !is_wanted(ticket)
            && self.remove_first().is_ok()
        {}
    }

    fn look_first(&self, max_fds: usize) -> nix::Result<Option<(Ticket, Vec<OwnedFd>)>> {
        self.exit.look_at_first()?;
        Ok(match self.exit.look(max_fds)? {
            Packet::Fds(ticket, fds) => Some((Ticket(ticket), fds)),
            // Of somebody who does not keep to the rules: nobody's.
            Packet::Bell => Some((Ticket(0), Vec::new())),
            Packet::End | Packet::Nothing => None,
        })
    }

    fn remove_first(&self) -> nix::Result<()> {
        self.exit.receive(0).map(drop)
    }

    fn send(&self, ticket: Ticket, fds: &[BorrowedFd<'_>]) -> nix::Result<()> {
        self.entrance.send_fds(ticket.0, fds, Deadline::after(Duration::ZERO))
    }

    /// A quarter of the room stays free, for packets to be moved.
    fn has_room(&self) -> nix::Result<bool> {
        Ok(self.n_bytes()? < self.entrance.room()? / 4 * 3)
    }

    fn n_bytes(&self) -> nix::Result<usize> {
        self.entrance.n_bytes_sent()
    }

    /// Whoever is killed in here leaves all as it was, or one packet less that nobody wanted, or one twice.
    fn lock(&self) -> LockGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(|died| {
            let guard = died.into_inner();
            guard.mark_consistent();
            guard
        })
    }
}

impl From<Errno> for Stop {
    fn from(e: Errno) -> Self {
        match e {
            // This process has no room for them, or as many are on their way already, of this user, as one process may have.
            Errno::EMFILE | Errno::ETOOMANYREFS => Self::System(io::ErrorKind::QuotaExceeded),
            e => io::Error::from(e).into(),
        }
    }
}
