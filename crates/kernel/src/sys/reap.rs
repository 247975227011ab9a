//! Collecting one child's exit status, by descriptor: never that of a child that other code started.
//!
//! # Safety
//! `waitid` fills a `siginfo_t` of ours; its fields are read only after a success, where they are all set.
#![allow(unsafe_code)]

use std::{
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::process::ExitStatusExt,
    },
    process::ExitStatus,
};

use nix::errno::Errno;

use super::pidfd;

/// Reaps the child if it has ended. `ECHILD` if other code has reaped it, or it is no child of ours.
pub fn now(pidfd: BorrowedFd<'_>) -> nix::Result<Option<ExitStatus>> {
    wait(pidfd, libc::WEXITED | libc::WNOHANG)
}

/// Whether it is a child of ours that has not been reaped; does not reap it.
pub fn is_ours(pidfd: BorrowedFd<'_>) -> bool {
    wait(pidfd, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT).is_ok()
}

/// Waits until the child has ended, and reaps it.
pub fn blocking(pidfd: &impl AsFd) -> nix::Result<ExitStatus> {
    loop {
        match wait(pidfd.as_fd(), libc::WEXITED) {
            Ok(Some(status)) => return Ok(status),
            Ok(None) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
    }
}

fn wait(pidfd: BorrowedFd<'_>, options: i32) -> nix::Result<Option<ExitStatus>> {
    // SAFETY: a siginfo_t is plain data; all zeros means "nothing yet".
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is writable.
    let rc = unsafe { libc::waitid(libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t, &raw mut info, options) };
    Errno::result(rc)?;
    // SAFETY: set by waitid, or zero.
    if unsafe { info.si_pid() } == 0 {
        return Ok(None);
    }
    pidfd::note_death();
    // SAFETY: waitid reported a child's end, so the status is set.
    let status = unsafe { info.si_status() };
    // The encoding that wait(2) uses, which is what `ExitStatus` is made of.
    let raw = match info.si_code {
        libc::CLD_EXITED => (status & 0xff) << 8,
        libc::CLD_DUMPED => status | 0x80,
        _ => status,
    };
    Ok(Some(ExitStatus::from_raw(raw)))
}
