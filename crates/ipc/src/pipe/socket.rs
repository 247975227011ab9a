//! The socket beside the rings: end of file, descriptors, and the bell that wakes a sleeper.
//!
//! A packet is one byte (the bell), or [`FDS_BYTES`] bytes with up to [`MAX_FDS`] descriptors: the position of the
//! message that they belong to, so that those of a message that was never finished are not taken for another's.

use std::{
    io::IoSlice,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    time::Duration,
};

pub(crate) use kernel::sys::scm_rights::MAX_FDS;
use kernel::{
    fds::above_standard_streams,
    futex::Deadline,
    handover::Fd,
    sys::{
        scm_rights::{self, ROOM_FOR_ALL},
        seqpacket,
    },
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::socket::{ControlMessage, MsgFlags, getsockopt, sendmsg, setsockopt, sockopt::SndBuf},
};
use serde::{Deserialize, Serialize};

/// How long to wait for the few bytes of a bell, without which a sleeper may sleep on.
const LONGEST_WANT: Duration = Duration::from_secs(1);

const BELL: [u8; 1] = [b'!'];
const FDS_BYTES: usize = 8;

/// What came in one packet.
#[derive(Debug)]
pub(crate) enum Packet {
    /// Waiters should look at the rings again.
    Bell,
    /// Descriptors of the message at that position. Some may be missing, if this process could not hold more.
    Fds(u64, Vec<OwnedFd>),
    /// The other end is closed, in all processes.
    End,
    /// Nothing now.
    Nothing,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// A packet came, or the other end has been closed.
    Ready,
    TimedOut,
}

/// What became of a bell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rung {
    /// The peer wakes up, or has packets to wake up for already.
    Heard,
    /// The other end is closed, in all processes.
    Ended,
    /// The kernel had no memory for it during [`LONGEST_WANT`].
    NoMemory,
}

/// One end of a `SOCK_SEQPACKET` pair.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Socket(pub(crate) Fd);

impl Socket {
    pub(crate) fn pair() -> nix::Result<(Self, Self)> {
        let (a, b) = seqpacket::pair()?;
        Ok((Self(a.into()), Self(b.into())))
    }

    #[cfg(test)]
    pub(crate) fn from_fd(fd: OwnedFd) -> Self {
        Self(Fd(fd))
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0.0
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Wakes the peer.
    #[cold]
    pub(crate) fn ring(&self) -> Rung {
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        let mut give_up = None;
        loop {
            match nix::sys::socket::send(self.0.as_fd().as_raw_fd(), &BELL, flags) {
                Err(Errno::EINTR) => {}
                Err(Errno::EPIPE | Errno::ECONNRESET) => return Rung::Ended,
                Err(Errno::ENOBUFS | Errno::ENOMEM) => {
                    let give_up = give_up.get_or_insert_with(|| Deadline::after(LONGEST_WANT));
                    if give_up.is_some_and(|deadline| deadline.has_passed()) {
                        return Rung::NoMemory;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                // A full buffer, too.
                _ => return Rung::Heard,
            }
        }
    }

    /// Sends descriptors of the message at `position`, waiting for room until the deadline. `EPIPE` if the peer is
    /// gone, `EAGAIN` if the time is over.
    pub(crate) fn send_fds(
        &self,
        position: u64,
        fds: &[BorrowedFd<'_>],
        deadline: Option<Deadline>,
    ) -> nix::Result<()> {
        let payload = position.to_ne_bytes();
        let fds: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let control = [ControlMessage::ScmRights(&fds)];
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        loop {
            match sendmsg::<()>(self.0.as_fd().as_raw_fd(), &[IoSlice::new(&payload)], &control, flags, None) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    if self.poll(PollFlags::POLLOUT, deadline.map(|d| d.remaining()))? == Woken::TimedOut {
                        return Err(Errno::EAGAIN);
                    }
                }
                Err(Errno::ECONNRESET) => return Err(Errno::EPIPE),
                Err(e) => return Err(e),
            }
        }
    }

    /// Sleeps until there is a packet, or the end.
    pub(crate) fn wait(&self, deadline: Option<Deadline>, at_most: Option<Duration>) -> nix::Result<Woken> {
        let timeout = deadline.map(|d| d.remaining());
        let timeout = timeout.into_iter().chain(at_most).min();
        self.poll(PollFlags::POLLIN, timeout)
    }

    /// Whether all copies of the other end are closed. One system call.
    pub(crate) fn has_ended(&self) -> bool {
        seqpacket::has_hung_up(self.0.as_fd())
    }

    /// Whether there is a packet, or the end.
    pub(crate) fn has_packet(&self) -> bool {
        self.poll(PollFlags::POLLIN, Some(Duration::ZERO)) == Ok(Woken::Ready)
    }

    /// `EINTR` is an early wake-up.
    fn poll(&self, events: PollFlags, timeout: Option<Duration>) -> nix::Result<Woken> {
        let mut poll = [PollFd::new(self.0.as_fd(), events)];
        match ppoll(&mut poll, timeout.map(Into::into), None) {
            Ok(0) => Ok(Woken::TimedOut),
            Ok(_) | Err(Errno::EINTR) => Ok(Woken::Ready),
            Err(e) => Err(e),
        }
    }

    /// Which message's descriptors the next packet brings, if that is what it does; never waits, and takes nothing.
    pub(crate) fn peek_fds(&self) -> nix::Result<Option<u64>> {
        // One byte more, to tell a packet that is longer.
        let mut payload = [0_u8; FDS_BYTES + 1];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK;
        loop {
            match nix::sys::socket::recv(self.0.as_fd().as_raw_fd(), &mut payload, flags) {
                Ok(FDS_BYTES) => return Ok(payload.first_chunk().map(|id| u64::from_ne_bytes(*id))),
                Ok(_) | Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR | Errno::ECONNRESET) => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Takes the next packet, with at most `max_fds` descriptors; never waits. The kernel closes what is more, without
    /// ever giving it a number here.
    pub(crate) fn receive(&self, max_fds: usize) -> nix::Result<Packet> {
        self.receive_as(max_fds, libc::MSG_DONTWAIT)
    }

    /// [`receive`](Self::receive) that waits for a packet, or the end.
    pub(crate) fn receive_patiently(&self, max_fds: usize) -> nix::Result<Packet> {
        self.receive_as(max_fds, 0)
    }

    /// Copies the next packet and leaves it there; the next look is at the one after it. `EMFILE` if this process cannot
    /// have all of its descriptors, unless it asks for none.
    pub(crate) fn look(&self, max_fds: usize) -> nix::Result<Packet> {
        self.receive_as(max_fds, libc::MSG_PEEK | libc::MSG_DONTWAIT)
    }

    /// Makes the next look start at the first packet.
    pub(crate) fn look_at_first(&self) -> nix::Result<()> {
        seqpacket::peek_at_first(self.0.as_fd())
    }

    /// Asks for so much room for what is sent and has not been received; the kernel may bound it.
    pub(crate) fn ask_for_room(&self, bytes: usize) {
        // If the kernel gives less, there is less room.
        let _ = setsockopt(&self.0, SndBuf, &bytes);
    }

    /// How much room there is in all.
    pub(crate) fn room(&self) -> nix::Result<usize> {
        getsockopt(&self.0, SndBuf)
    }

    /// How much of the room is taken by what has been sent and not been received.
    pub(crate) fn n_bytes_sent(&self) -> nix::Result<usize> {
        seqpacket::n_bytes_sent(self.0.as_fd())
    }

    fn receive_as(&self, max_fds: usize, how: libc::c_int) -> nix::Result<Packet> {
        let mut payload = [0_u8; FDS_BYTES];
        let mut fds = Vec::new();
        let socket = self.0.as_fd();
        let (len, flags) = loop {
            match scm_rights::receive::<ROOM_FOR_ALL>(socket, &mut payload, max_fds, how, |fd| fds.push(fd)) {
                Ok(received) => break received,
                // The peer left without reading everything: reported once, before what it sent.
                Err(Errno::ECONNRESET) => {}
                Err(Errno::EAGAIN) => return Ok(Packet::Nothing),
                Err(e) => return Err(e),
            }
        };
        let wants_all = how & libc::MSG_PEEK != 0 && max_fds > 0;
        if wants_all && flags & libc::MSG_CTRUNC != 0 {
            return Err(Errno::EMFILE);
        }
        let fds = fds.into_iter().map(above_standard_streams).collect::<Result<_, _>>()?;
        Ok(match len {
            // So may an empty packet be, which no honest peer sends.
            0 if self.has_ended() => Packet::End,
            8 => Packet::Fds(u64::from_ne_bytes(payload), fds),
            _ => Packet::Bell,
        })
    }
}
