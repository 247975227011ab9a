//! The socket beside the rings: end of file, descriptors, and the bell that wakes a sleeper.
//!
//! A packet is one byte (the bell), or [`FDS_BYTES`] bytes with up to [`MAX_FDS`] descriptors: the position of the
//! message that they belong to, so that those of a message that was never finished are not taken for another's.
//!
//! # Safety
//! Descriptors that the kernel installed for a received packet are taken charge of, each once. Control messages are
//! walked with the C library's macros over what the kernel wrote.
#![allow(unsafe_code)]

use std::{
    io::IoSlice,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    time::Duration,
};

use kernel::{fds::above_standard_streams, futex::Deadline, handover::Fd};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::socket::{ControlMessage, MsgFlags, sendmsg},
};
use serde::{Deserialize, Serialize};

/// As many descriptors as the kernel lets one packet carry (`SCM_MAX_FD`).
pub(crate) const MAX_FDS: usize = 253;

/// How long to wait for the few bytes of a bell, without which a sleeper may sleep on.
const LONGEST_WANT: Duration = Duration::from_secs(1);

const BELL: [u8; 1] = [b'!'];
const FDS_BYTES: usize = 8;

/// What came in one packet.
#[derive(Debug)]
pub(crate) enum Packet {
    /// Somebody should look at the rings again.
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

/// One end of a `SOCK_SEQPACKET` pair.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Socket(pub(crate) Fd);

impl Socket {
    pub(crate) fn pair() -> nix::Result<(Self, Self)> {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
        let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self(above_standard_streams(a)?.into()), Self(above_standard_streams(b)?.into())))
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

    /// Wakes the peer. A full buffer means that it has packets to wake up for already, a closed one that it is gone.
    /// False if the kernel had no memory for a bell during [`LONGEST_WANT`].
    #[cold]
    pub(crate) fn ring(&self) -> bool {
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        let mut give_up = None;
        loop {
            match nix::sys::socket::send(self.0.as_fd().as_raw_fd(), &BELL, flags) {
                Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS | Errno::ENOMEM) => {
                    let give_up = give_up.get_or_insert_with(|| Deadline::after(LONGEST_WANT));
                    if give_up.is_some_and(|deadline| deadline.has_passed()) {
                        return false;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                _ => return true,
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
        let mut poll = [PollFd::new(self.0.as_fd(), PollFlags::from_bits_retain(libc::POLLRDHUP))];
        // Nothing else is asked for.
        ppoll(&mut poll, Some(Duration::ZERO.into()), None).is_ok_and(|n| n > 0)
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
        #[repr(C, align(8))]
        struct Control([u8; 1040]);
        // SAFETY: computes a length.
        const { assert!(size_of::<Control>() as u32 >= unsafe { libc::CMSG_SPACE((MAX_FDS * 4) as u32) }) };
        let mut payload = [0_u8; FDS_BYTES];
        let mut control = Control([0; 1040]);
        let mut iov = libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: payload.len() };
        // SAFETY: a msghdr is plain data; all zeros is an empty message.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &raw mut iov;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        // Not the padding too, in which there may be room for one more.
        // SAFETY: computes a length.
        message.msg_controllen = unsafe { libc::CMSG_LEN((max_fds.min(MAX_FDS) * size_of::<RawFd>()) as u32) } as _;
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        let len = loop {
            // SAFETY: the message and all it points at outlive the call.
            match Errno::result(unsafe { libc::recvmsg(self.0.as_fd().as_raw_fd(), &raw mut message, flags) }) {
                Ok(len) => break len,
                // The peer left without reading everything: reported once, before what it sent.
                Err(Errno::EINTR | Errno::ECONNRESET) => {}
                Err(Errno::EAGAIN) => return Ok(Packet::Nothing),
                Err(e) => return Err(e),
            }
        };
        let fds = take_fds(&message).into_iter().map(above_standard_streams).collect::<Result<_, _>>()?;
        Ok(match len {
            // So may an empty packet be, which nobody sends who means well.
            0 if self.has_ended() => Packet::End,
            8 => Packet::Fds(u64::from_ne_bytes(payload), fds),
            _ => Packet::Bell,
        })
    }
}

/// Takes charge of the descriptors that the kernel installed for a received message.
fn take_fds(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: the kernel has filled in the control buffer and its length.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: the macros only return headers inside the buffer.
        let cmsg = unsafe { &*header };
        if (cmsg.cmsg_level, cmsg.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: as above.
            let data = unsafe { libc::CMSG_DATA(header) }.cast::<RawFd>();
            // SAFETY: computes a length.
            let before_data = unsafe { libc::CMSG_LEN(0) } as usize;
            for i in 0..(cmsg.cmsg_len - before_data) / size_of::<RawFd>() {
                // SAFETY: inside the header's data, whose length the kernel set.
                let place = unsafe { data.add(i) };
                // SAFETY: as above; need not be aligned.
                let fd = unsafe { place.read_unaligned() };
                // SAFETY: the kernel just installed it for us.
                fds.push(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
        // SAFETY: the header is one that the macros returned.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    fds
}
