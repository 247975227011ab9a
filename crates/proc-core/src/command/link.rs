//! A program that was executed dies with this process.
//!
//! As in [`crate::death_link`]; but the descriptor through which the kernel signals must stay open in the program.
//!
//! # Safety
//! What runs between fork and exec makes system calls only: another thread may have held the allocator's lock.
#![allow(unsafe_code)]

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::Command,
};

use kernel::sys::death_signal;
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl, open},
    sys::stat::Mode,
};

/// Makes the kernel kill the program when the pipe that `read_end` belongs to has no writer any more. The pipe must be open
/// when the command is spawned.
pub(super) fn tie(command: &mut Command, read_end: BorrowedFd<'_>) -> io::Result<()> {
    let path = CString::new(format!("/proc/self/fd/{}", read_end.as_raw_fd()))?;
    // SAFETY: system calls only, and the path is made already.
    unsafe { command.pre_exec(move || arm(&path)) };
    Ok(())
}

fn arm(path: &CString) -> io::Result<()> {
    // The settings belong to an open file, so each process needs its own; it must not be closed on exec.
    let mut own = open(path.as_c_str(), OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty())?;
    if own.as_raw_fd() <= 2 {
        // The program would take it for the standard stream that it does not have.
        let moved = fcntl(&own, FcntlArg::F_DUPFD(3))?;
        // SAFETY: the kernel just made this descriptor for us.
        own = unsafe { OwnedFd::from_raw_fd(moved) };
    }
    death_signal::arm(own.as_fd())?;
    if death_signal::has_fired(own.as_fd()) {
        // The owner died before the signal was armed.
        death_signal::die();
    }
    let _ = own.into_raw_fd();
    Ok(())
}
