//! Having the kernel kill this process when the last write end of a pipe is closed.
//!
//! # Safety
//! `fcntl` with integers on a descriptor of ours.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::stat::Mode,
};

/// Arms the signal. As long as the returned descriptor is open, this process gets a `SIGKILL` when the pipe that
/// `read_end` belongs to has no writer any more.
///
/// The settings belong to an open file, so the pipe is opened anew: each process needs its own.
pub(crate) fn arm(read_end: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    const F_SETSIG: i32 = 10;
    let path = format!("/proc/self/fd/{}", read_end.as_raw_fd());
    let own = open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK, Mode::empty())?;
    let set = |command, value: i32| {
        // SAFETY: commands that take an integer.
        Errno::result(unsafe { libc::fcntl(own.as_raw_fd(), command, value) })
    };
    set(F_SETSIG, libc::SIGKILL)?;
    set(libc::F_SETOWN, std::process::id() as i32)?;
    set(libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK)?;
    Ok(own)
}

/// Whether the pipe has no writer any more.
pub(crate) fn has_fired(read_end: BorrowedFd<'_>) -> bool {
    let mut poll_fds = [PollFd::new(read_end.as_fd(), PollFlags::empty())];
    let ready = poll(&mut poll_fds, PollTimeout::ZERO);
    ready.is_ok_and(|n| n > 0) && poll_fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
}
