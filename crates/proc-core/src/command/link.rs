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
        fd::{AsRawFd, BorrowedFd, RawFd},
        unix::process::CommandExt,
    },
    process::Command,
};

use nix::errno::Errno;

/// Has the program killed when the pipe that `read_end` belongs to has no writer any more. The pipe must be open when
/// the command is spawned.
pub(super) fn tie(command: &mut Command, read_end: BorrowedFd<'_>) -> io::Result<()> {
    let path = CString::new(format!("/proc/self/fd/{}", read_end.as_raw_fd()))?;
    // SAFETY: system calls only, and the path is made already.
    unsafe { command.pre_exec(move || arm(&path)) };
    Ok(())
}

fn arm(path: &CString) -> io::Result<()> {
    const F_SETSIG: i32 = 10;
    // SAFETY: a C string that outlives the call.
    let opened = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_NONBLOCK) };
    // The settings belong to an open file, so each process needs its own; it must not be closed on exec.
    let mut own: RawFd = Errno::result(opened)?;
    if own <= 2 {
        // The program would take it for the standard stream that it does not have.
        // SAFETY: takes integers.
        let moved = Errno::result(unsafe { libc::fcntl(own, libc::F_DUPFD, 3) })?;
        // SAFETY: opened above.
        unsafe { libc::close(own) };
        own = moved;
    }
    let set = |command, value: i32| {
        // SAFETY: commands that take an integer.
        Errno::result(unsafe { libc::fcntl(own, command, value) })
    };
    set(F_SETSIG, libc::SIGKILL)?;
    // SAFETY: takes nothing.
    set(libc::F_SETOWN, unsafe { libc::getpid() })?;
    set(libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK)?;
    let mut poll = libc::pollfd { fd: own, events: 0, revents: 0 };
    // SAFETY: one entry, which is writable.
    unsafe { libc::poll(&raw mut poll, 1, 0) };
    if poll.revents & libc::POLLHUP != 0 {
        // SAFETY: ends this process: its owner died before the signal was armed.
        unsafe { libc::raise(libc::SIGKILL) };
    }
    Ok(())
}
