//! Process descriptors: they name one process for good, whatever becomes of its pid.
//!
//! # Safety
//! Raw system calls that nix does not offer; every pointer handed in outlives its call.
#![allow(unsafe_code)]

use std::{
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    process::ExitStatus,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
};

use super::fds::above_standard_streams;
use crate::futex::Deadline;

/// How often this process has learned that another one has ended.
pub static DEATHS_SEEN: AtomicU32 = AtomicU32::new(0);

/// Notes that this process has learned of another's end.
pub fn note_death() {
    // Relaxed: a hint that it is worth to ask the kernel.
    DEATHS_SEEN.fetch_add(1, Relaxed);
}

/// Opens the process that bears `pid` now.
pub fn open(pid: u32) -> nix::Result<OwnedFd> {
    // SAFETY: takes two integers.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel just made this descriptor for us.
    above_standard_streams(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Sends `signal`; `ESRCH` once the process has been reaped.
pub fn send_signal(fd: BorrowedFd<'_>, signal: i32) -> nix::Result<()> {
    let info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: a null siginfo means "as kill(2) does".
    let rc = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd.as_raw_fd(), signal, info, 0) };
    Errno::result(rc).map(drop)
}

/// Sends `signal` to the process group that the process leads or is in; `ESRCH` once it has been reaped, `EINVAL` before
/// Linux 6.9.
pub fn send_signal_to_group(fd: BorrowedFd<'_>, signal: i32) -> nix::Result<()> {
    const PIDFD_SIGNAL_PROCESS_GROUP: libc::c_uint = 1 << 2;
    let info: *const libc::siginfo_t = std::ptr::null();
    let flags = PIDFD_SIGNAL_PROCESS_GROUP;
    // SAFETY: a null siginfo means "as kill(2) does".
    let rc = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd.as_raw_fd(), signal, info, flags) };
    Errno::result(rc).map(drop)
}

/// Whether the process has ended; never blocks.
pub fn has_exited(fd: BorrowedFd<'_>) -> bool {
    let mut poll = [PollFd::new(fd, PollFlags::POLLIN)];
    let exited = matches!(ppoll(&mut poll, Some(std::time::Duration::ZERO.into()), None), Ok(n) if n > 0);
    if exited {
        note_death();
    }
    exited
}

/// Sleeps until the process has ended (true) or the deadline has passed (false).
pub fn wait_exit(fd: BorrowedFd<'_>, deadline: Option<Deadline>) -> nix::Result<bool> {
    loop {
        let mut poll = [PollFd::new(fd, PollFlags::POLLIN)];
        match ppoll(&mut poll, deadline.map(|d| d.remaining().into()), None) {
            Ok(0) => return Ok(false),
            Ok(_) => {
                note_death();
                return Ok(true);
            }
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
    }
}

/// How a process ended that other code has reaped; `None` before Linux 6.15, which did not keep it.
///
/// The process must have ended, and have been reaped or be about to be.
pub fn kept_status(fd: BorrowedFd<'_>) -> Option<ExitStatus> {
    /// The first version of the kernel's `pidfd_info`.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        mask: u64,
        cgroup: u64,
        ids: [u32; 11],
        exit_code: i32,
    }
    const GET_INFO: libc::Ioctl = 0xc040_ff0b_u32 as libc::Ioctl;
    const WITH_EXIT: u64 = 1 << 3;
    const _: () = assert!(size_of::<Info>() == 64, "the size is a part of the command");
    // The kernel keeps the status some microseconds after poll reports the end.
    for _ in 0..100 {
        let mut info = Info { mask: WITH_EXIT, ..Info::default() };
        // SAFETY: the kernel writes at most the 64 bytes that the command names.
        Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), GET_INFO, &raw mut info) }).ok()?;
        if info.mask & WITH_EXIT != 0 {
            return Some(ExitStatus::from_raw(info.exit_code));
        }
        std::thread::sleep(std::time::Duration::from_micros(100));
    }
    None
}
