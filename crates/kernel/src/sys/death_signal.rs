//! Makes the kernel kill this process when the last write end of a pipe is closed.
//!
//! # Safety
//! System calls with integers, on a descriptor of ours.
#![allow(unsafe_code)]

use std::{
    ffi::CStr,
    io::Write,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open, openat},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::stat::Mode,
};

use super::fds::above_standard_streams;

/// Opens files once more that the calling process has open: also where it does not see a `/proc` any more, in a chroot.
#[derive(Debug)]
pub struct Opener(OwnedFd);

impl Opener {
    /// `ENOENT` without a `/proc`.
    pub fn new() -> nix::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self(above_standard_streams(open("/proc/self/fd", flags, Mode::empty())?)?))
    }

    /// The read end of a pipe: the settings belong to an open file, and each process needs its own.
    pub fn open_anew(&self, read_end: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
        // Without an allocation: a fork server does this for each child, and would pay a fault for the heap each time.
        let mut name = [0; 16];
        write!(&mut name[..], "{}", read_end.as_raw_fd()).expect("a number has at most ten digits");
        let name = CStr::from_bytes_until_nul(&name).expect("there is room for a NUL");
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        above_standard_streams(openat(&self.0, name, flags, Mode::empty())?)
    }
}

impl From<Opener> for OwnedFd {
    fn from(Opener(dir): Opener) -> Self {
        dir
    }
}

/// Arms the signal: as long as `own` is open, this process gets a `SIGKILL` when the pipe has no writer any more.
#[inline]
pub fn arm(own: BorrowedFd<'_>) -> nix::Result<()> {
    arm_for(own, super::pid::own())
}

/// [`arm`], by another process on behalf of the process `pid`, which holds the same opening. If possible, before that one
/// has run.
#[inline]
pub fn arm_for(opening: BorrowedFd<'_>, pid: i32) -> nix::Result<()> {
    prepare(opening, pid)?;
    set(opening, libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK)
}

#[inline]
fn prepare(own: BorrowedFd<'_>, pid: i32) -> nix::Result<()> {
    const F_SETSIG: i32 = 10;
    set(own, F_SETSIG, libc::SIGKILL)?;
    set(own, libc::F_SETOWN, pid)
}

#[inline]
fn set(own: BorrowedFd<'_>, command: i32, value: i32) -> nix::Result<()> {
    // SAFETY: commands that take an integer.
    Errno::result(unsafe { libc::fcntl(own.as_raw_fd(), command, value) }).map(drop)
}

/// Kills the calling process.
pub fn die() -> ! {
    loop {
        // SAFETY: ends this process.
        unsafe { libc::raise(libc::SIGKILL) };
    }
}

/// Whether the pipe has no writer any more.
#[inline]
pub fn has_fired(read_end: BorrowedFd<'_>) -> bool {
    let mut poll_fds = [PollFd::new(read_end.as_fd(), PollFlags::empty())];
    let ready = poll(&mut poll_fds, PollTimeout::ZERO);
    ready.is_ok_and(|n| n > 0) && poll_fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
}
