//! Having the kernel kill this process when the last write end of a pipe is closed.
//!
//! # Safety
//! `fcntl` with integers on a descriptor of ours.
#![allow(unsafe_code)]

use std::{
    ffi::CStr,
    io::Write,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::stat::Mode,
    unistd::getpid,
};

use super::fds::above_standard_streams;

/// The read end of a pipe, opened once more: the settings belong to an open file, and each process needs its own.
pub(crate) fn open_anew(read_end: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    // Without an allocation: a fork server does this for each child, and would pay a fault for the heap each time.
    let mut path = [0; 32];
    write!(&mut path[..], "/proc/self/fd/{}", read_end.as_raw_fd()).expect("a number has at most ten digits");
    let path = CStr::from_bytes_until_nul(&path).expect("there is room for a NUL");
    above_standard_streams(open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK, Mode::empty())?)
}

/// Arms the signal: as long as `own` is open, this process gets a `SIGKILL` when the pipe has no writer any more.
pub(crate) fn arm(own: BorrowedFd<'_>) -> nix::Result<()> {
    const F_SETSIG: i32 = 10;
    let set = |command, value: i32| {
        // SAFETY: commands that take an integer.
        Errno::result(unsafe { libc::fcntl(own.as_raw_fd(), command, value) })
    };
    set(F_SETSIG, libc::SIGKILL)?;
    set(libc::F_SETOWN, getpid().as_raw())?;
    set(libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK).map(drop)
}

/// Whether the pipe has no writer any more.
pub(crate) fn has_fired(read_end: BorrowedFd<'_>) -> bool {
    let mut poll_fds = [PollFd::new(read_end.as_fd(), PollFlags::empty())];
    let ready = poll(&mut poll_fds, PollTimeout::ZERO);
    ready.is_ok_and(|n| n > 0) && poll_fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
}
