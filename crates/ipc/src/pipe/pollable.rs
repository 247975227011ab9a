//! A descriptor that is readable while there is something to receive.
//!
//! The socket alone is not: its bell rings only for those who sleep, and is taken in by whoever looks. So whoever takes
//! bells in while there may be messages owes a sign, which is an eventfd; and an epoll descriptor over both shows either.
//! Made when somebody first asks for the descriptor; two more descriptors.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kernel::fds::above_standard_streams;
use nix::sys::{
    epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags},
    eventfd::{EfdFlags, EventFd},
};

#[derive(Debug)]
pub(super) struct Pollable {
    both: Epoll,
    /// An eventfd.
    owed: OwnedFd,
}

impl Pollable {
    pub(super) fn new(socket: BorrowedFd<'_>) -> nix::Result<Self> {
        let owed = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let owed = above_standard_streams(OwnedFd::from(owed))?;
        let both = Epoll(above_standard_streams(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?.0)?);
        both.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        both.add(&owed, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        Ok(Self { both, owed })
    }

    /// Shows that there may be something.
    pub(super) fn owe(&self) {
        // Fails when it is shown already, many times over.
        let _ = nix::unistd::write(&self.owed, &1_u64.to_ne_bytes());
    }

    /// There is nothing, and the bell will ring when there is.
    pub(super) fn settle(&self) {
        // Fails when nothing is shown.
        let _ = nix::unistd::read(&self.owed, &mut [0; 8]);
    }
}

impl AsFd for Pollable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.both.0.as_fd()
    }
}
