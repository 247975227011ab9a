//! A pair of `SOCK_SEQPACKET` sockets: whole packets, descriptors beside them, no name that a stranger could connect to.
//!
//! # Safety
//! System calls with buffers that outlive them, whose lengths are said.
#![allow(unsafe_code)]

use std::{
    io::IoSlice,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, Shutdown, SockFlag, SockType, setsockopt, shutdown, socketpair, sockopt::ReceiveTimeout,
    },
    sys::time::{TimeVal, TimeValLike},
};

use super::{
    fds::above_standard_streams,
    scm_rights::{self, MAX_FEW, ROOM_FOR_ALL, ROOM_FOR_FEW},
};

pub use super::scm_rights::MAX_FDS;

/// Two connected ends.
pub fn pair() -> nix::Result<(OwnedFd, OwnedFd)> {
    let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    Ok((above_standard_streams(a)?, above_standard_streams(b)?))
}

/// Sends one packet made of `parts`, with at most [`MAX_FDS`] descriptors. Waits while the peer's buffer is full. Does not
/// allocate.
pub fn send(socket: BorrowedFd<'_>, parts: &[IoSlice<'_>], fds: &[RawFd]) -> nix::Result<()> {
    scm_rights::send(socket, parts, fds, 0)
}

/// [`send`] of a packet that is in one piece.
pub fn send_bytes(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[RawFd]) -> nix::Result<()> {
    send(socket, &[IoSlice::new(bytes)], fds)
}

/// [`send`], and `EAGAIN` while the peer's buffer is full.
pub fn send_now(socket: BorrowedFd<'_>, parts: &[IoSlice<'_>], fds: &[RawFd]) -> nix::Result<()> {
    scm_rights::send(socket, parts, fds, libc::MSG_DONTWAIT)
}

/// Receives one packet into `buffer` and appends its descriptors to `fds`; its length, 0 if the peer is gone. Waits.
///
/// `EMSGSIZE` for a packet, or a set of descriptors, that did not fit: it is lost.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> nix::Result<usize> {
    receive_as(socket, buffer, fds, 0)
}

/// [`receive`], and `EAGAIN` if there is no packet.
pub fn receive_now(socket: BorrowedFd<'_>, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> nix::Result<usize> {
    receive_as(socket, buffer, fds, libc::MSG_DONTWAIT)
}

/// How long the next packet is, which stays there; 0 if the peer is gone, `EAGAIN` if there is none.
pub fn next_len(socket: BorrowedFd<'_>) -> nix::Result<usize> {
    let flags = libc::MSG_PEEK | libc::MSG_TRUNC | libc::MSG_DONTWAIT;
    loop {
        // SAFETY: room for no byte.
        match Errno::result(unsafe { libc::recv(socket.as_raw_fd(), std::ptr::null_mut(), 0, flags) }) {
            Err(Errno::EINTR) => {}
            len => return len.map(|len| len as usize),
        }
    }
}

fn receive_as(socket: BorrowedFd<'_>, buffer: &mut [u8], fds: &mut Vec<OwnedFd>, flags: i32) -> nix::Result<usize> {
    let mut low = Ok(());
    // Taken charge of before any error is reported, so that none is leaked.
    let take = |fd| match above_standard_streams(fd) {
        Ok(fd) => fds.push(fd),
        Err(e) => low = Err(e),
    };
    let (len, flags) = scm_rights::receive::<ROOM_FOR_ALL>(socket, buffer, MAX_FDS, flags, take)?;
    low?;
    if flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
        return Err(Errno::EMSGSIZE);
    }
    Ok(len)
}

/// [`receive`] for a packet with at most one descriptor. Does not allocate. If it shall not `wait`, `EAGAIN` if there is
/// none. `EMSGSIZE` if this process could not hold the descriptor, or there were more, of which none is kept; `EBADMSG` if
/// the packet is longer than the buffer.
pub fn receive_small(socket: BorrowedFd<'_>, buffer: &mut [u8], wait: bool) -> nix::Result<(usize, Option<OwnedFd>)> {
    receive_few(socket, buffer, wait).map(|(len, [fd])| (len, fd))
}

/// [`receive_small`] for a packet with at most `N` descriptors, up to three.
pub fn receive_few<const N: usize>(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    wait: bool,
) -> nix::Result<(usize, [Option<OwnedFd>; N])> {
    const { assert!(N <= MAX_FEW, "more have no room") };
    let mut fds = [const { None }; N];
    let mut places = fds.iter_mut();
    let take = |fd| {
        if let Some(place) = places.next() {
            *place = Some(fd);
        }
    };
    let flags = if wait { 0 } else { libc::MSG_DONTWAIT };
    let (len, flags) = scm_rights::receive::<ROOM_FOR_FEW>(socket, buffer, N, flags, take)?;
    for fd in &mut fds {
        *fd = fd.take().map(above_standard_streams).transpose().map_err(|_| Errno::EMSGSIZE)?;
    }
    match flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) {
        0 => Ok((len, fds)),
        libc::MSG_CTRUNC => Err(Errno::EMSGSIZE),
        _ => Err(Errno::EBADMSG),
    }
}

/// Whether the socket's other end is closed, in all processes.
pub fn has_hung_up(socket: BorrowedFd<'_>) -> bool {
    hangs_up_within(socket, PollTimeout::ZERO)
}

/// Whether it is closed, or will be before this time has passed.
pub fn hangs_up_within(socket: BorrowedFd<'_>, time: impl Into<PollTimeout>) -> bool {
    let mut poll_fds = [PollFd::new(socket, PollFlags::from_bits_retain(libc::POLLRDHUP))];
    poll(&mut poll_fds, time).is_ok_and(|n| n > 0)
}

/// Makes the next `MSG_PEEK` look at the first packet, and each after it at the one after.
pub fn peek_at_first(socket: BorrowedFd<'_>) -> nix::Result<()> {
    let (offset, len) = (0_i32, size_of::<i32>() as u32);
    let option = (libc::SOL_SOCKET, libc::SO_PEEK_OFF);
    // SAFETY: an option that takes an integer, which outlives the call.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), option.0, option.1, (&raw const offset).cast(), len) };
    Errno::result(set).map(drop)
}

/// How many bytes of the socket's room are taken by what has been sent and not been received.
pub fn n_bytes_sent(socket: BorrowedFd<'_>) -> nix::Result<usize> {
    let mut n: libc::c_int = 0;
    // SAFETY: the kernel writes an integer there.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut n) })?;
    Ok(usize::try_from(n).unwrap_or(0))
}

/// Makes receivers on the socket get `EAGAIN` after so many seconds without a packet.
pub fn limit_waits(socket: BorrowedFd<'_>, seconds: i64) -> nix::Result<()> {
    setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(seconds))
}

/// Takes no more packets, but for those that have come already: the sender of another one gets `EPIPE`.
pub fn close_for_receiving(socket: BorrowedFd<'_>) -> nix::Result<()> {
    shutdown(socket.as_raw_fd(), Shutdown::Read)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use nix::{
        sys::wait::{WaitStatus, waitpid},
        unistd::{ForkResult, fork},
    };

    use super::*;

    fn n_open() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }

    fn surplus_descriptors_are_refused_and_closed() {
        let (here, there) = pair().unwrap();
        let before = n_open();
        for n in [2, 3, 50, MAX_FDS] {
            let fds = vec![0; n];
            for _ in 0..20 {
                send(here.as_fd(), &[IoSlice::new(b"x")], &fds).unwrap();
                assert_eq!(receive_small(there.as_fd(), &mut [0], false).unwrap_err(), Errno::EMSGSIZE);
            }
        }
        assert_eq!(n_open(), before);
        send(here.as_fd(), &[IoSlice::new(b"x")], &[0]).unwrap();
        let (len, fd) = receive_small(there.as_fd(), &mut [0], false).unwrap();
        assert_eq!((len, fd.is_some()), (1, true));
    }

    #[test]
    fn the_length_of_the_next_packet_is_told_and_the_packet_stays() {
        let (here, there) = pair().unwrap();
        assert_eq!(next_len(there.as_fd()), Err(Errno::EAGAIN));
        for len in [1, 300] {
            send(here.as_fd(), &[IoSlice::new(&vec![7; len])], &[]).unwrap();
        }
        for len in [1, 300] {
            assert_eq!(next_len(there.as_fd()), Ok(len));
            let mut packet = vec![0; len];
            assert_eq!(receive_now(there.as_fd(), &mut packet, &mut Vec::new()), Ok(len));
            assert_eq!(packet, vec![7; len]);
        }
        // Not by a drop: a child that another test forks may have a copy for a moment.
        shutdown(here.as_raw_fd(), Shutdown::Write).unwrap();
        assert_eq!(next_len(there.as_fd()), Ok(0));
    }

    #[test]
    fn a_flood_of_descriptors_is_refused_and_closed() {
        // In a process of its own: descriptors are counted.
        // SAFETY: the child allocates, which the C library allows, and takes no lock that another thread may have had.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let done = std::panic::catch_unwind(surplus_descriptors_are_refused_and_closed);
                // SAFETY: ends this process.
                unsafe { libc::_exit(i32::from(done.is_err())) }
            }
            ForkResult::Parent { child } => assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0)),
        }
    }
}
