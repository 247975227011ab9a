//! A descriptor that is readable while there is something to receive.
//!
//! The socket alone is not: a writer rings its bell only for a reader that sleeps, and every reader takes bells in. So a
//! thread that takes bells in while there may be messages marks an eventfd as readable. The descriptor that users poll is
//! an epoll descriptor over both. It is made when a user first asks for it, and takes two descriptors.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kernel::fds::above_standard_streams;
use nix::sys::{
    epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags},
    eventfd::{EfdFlags, EventFd},
};

#[derive(Debug)]
pub(super) struct Pollable {
    both: Epoll,
    /// An eventfd: readable while there may be messages whose bell has been taken in.
    marked: OwnedFd,
}

impl Pollable {
    pub(super) fn new(socket: BorrowedFd<'_>) -> nix::Result<Self> {
        let marked = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let marked = above_standard_streams(OwnedFd::from(marked))?;
        let both = Epoll(above_standard_streams(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?.0)?);
        both.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        both.add(&marked, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        Ok(Self { both, marked })
    }

    /// Shows that there may be something to receive.
    pub(super) fn mark_readable(&self) {
        // Fails when it is shown already, many times over.
        let _ = nix::unistd::write(&self.marked, &1_u64.to_ne_bytes());
    }

    /// Shows that there is nothing to receive. The bell will ring when there is.
    pub(super) fn clear_readable(&self) {
        // Fails when nothing is shown.
        let _ = nix::unistd::read(&self.marked, &mut [0; 8]);
    }
}

impl AsFd for Pollable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.both.0.as_fd()
    }
}
