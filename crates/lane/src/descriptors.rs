//! Descriptors on their way through a lane's socket: each packet names the position of its task. They are sent before the
//! slot's word says that they were, so the side that reads the word finds them there.

use std::{
    fmt, io,
    io::IoSlice,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use kernel::{
    handover::Fd,
    sys::seqpacket::{self, MAX_FDS},
};
use nix::errno::Errno;

/// Most descriptors of a result, or of all the results that a stream buffer holds: what an owner takes in for one task.
pub const MAX_RESULT_FDS: usize = MAX_FDS;

/// Two connected ends.
pub(crate) fn pair() -> nix::Result<(Fd, Fd)> {
    seqpacket::pair().map(|(a, b)| (Fd(a), Fd(b)))
}

/// Sends the descriptors of the task at `position`. `EAGAIN` if there is no room; what has room before is sent.
pub(crate) fn send(socket: &Fd, position: u64, fds: &[BorrowedFd<'_>]) -> nix::Result<()> {
    let fds: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let packet = position.to_ne_bytes();
    fds.chunks(MAX_FDS).try_for_each(|fds| seqpacket::send_now(socket.as_fd(), &[IoSlice::new(&packet)], fds))
}

/// Sends the descriptors of a result, `n_before` others having been sent. Waits while there is no room: the owner takes
/// what has ended, and one task's have room always.
pub(crate) fn send_result(socket: &Fd, position: u64, n_before: usize, fds: &[OwnedFd]) -> io::Result<()> {
    if n_before + fds.len() > MAX_RESULT_FDS {
        return Err(Errno::E2BIG.into());
    }
    let fds: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    Ok(seqpacket::send_bytes(socket.as_fd(), &position.to_ne_bytes(), &fds)?)
}

/// What has come through the socket.
#[derive(Default)]
pub(crate) struct Received {
    /// What belongs to a later task waits here for it.
    early: Option<(u64, Vec<OwnedFd>)>,
}

impl Received {
    /// The `n` descriptors of the task at `position`. Closes those of earlier tasks, which were not taken.
    pub(crate) fn take(&mut self, socket: &Fd, position: u64, n: usize) -> io::Result<Vec<OwnedFd>> {
        let mut fds = Vec::new();
        while fds.len() < n {
            match self.next(socket)? {
                Some((of, more)) if of == position => fds.extend(more),
                Some((of, more)) if of > position => {
                    self.early = Some((of, more));
                    break;
                }
                Some(_) => {}
                None => break,
            }
        }
        if fds.len() == n { Ok(fds) } else { Err(Errno::EMFILE.into()) }
    }

    /// Closes all that has come.
    pub(crate) fn clear(&mut self, socket: &Fd) -> io::Result<()> {
        while self.next(socket)?.is_some() {}
        Ok(())
    }

    fn next(&mut self, socket: &Fd) -> nix::Result<Option<(u64, Vec<OwnedFd>)>> {
        if self.early.is_some() {
            return Ok(self.early.take());
        }
        let (mut position, mut fds) = ([0; 8], Vec::new());
        match seqpacket::receive_now(socket.as_fd(), &mut position, &mut fds) {
            // With `EMSGSIZE` not all of them could be taken in.
            Ok(8) | Err(Errno::EMSGSIZE) => Ok(Some((u64::from_ne_bytes(position), fds))),
            // Its peer, which no one else has, is this process's or gone.
            Ok(_) | Err(Errno::EAGAIN | Errno::ECONNRESET) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").field("early", &self.early).finish_non_exhaustive()
    }
}
