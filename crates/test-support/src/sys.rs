//! The few system calls that nix does not offer.
//!
//! # Safety
//! They take integers, or pointers to values that outlive the call.
#![allow(unsafe_code)]

use std::{
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    time::Duration,
};

/// A descriptor for the process that bears `pid` now.
pub(crate) fn pidfd_open(pid: i32) -> Option<OwnedFd> {
    // SAFETY: takes two integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the kernel just made this descriptor for us.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a signal to the process of a descriptor; whether it was there to get it.
pub(crate) fn pidfd_send_signal(process: BorrowedFd<'_>, signal: i32) -> bool {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: null asks for the same information that `kill` gives; else it takes integers.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, no_info, 0) == 0 }
}

/// Ends this process without running anything on the way out.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: ends the process; nothing is left to do in it.
    unsafe { libc::_exit(status) }
}

/// Stops for the tracer.
#[inline(always)]
pub(crate) fn breakpoint() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: raises SIGTRAP, and touches neither memory nor registers.
    unsafe {
        std::arch::asm!("int3", options(nomem, nostack));
    }
    // Elsewhere the tracer would have to move the program counter past the breakpoint.
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: sends a signal to the calling thread.
    unsafe {
        libc::raise(libc::SIGTRAP);
    }
}

/// Gives `signal` its default action back.
pub(crate) fn default_action(signal: libc::c_int) {
    // SAFETY: installs no handler.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Has SIGALRM sent to this process again and again.
pub(crate) fn start_interval_timer(interval: Duration) {
    let interval = libc::timeval { tv_sec: 0, tv_usec: interval.subsec_micros().into() };
    let timer = libc::itimerval { it_interval: interval, it_value: interval };
    // SAFETY: `timer` outlives the call; null asks for nothing back.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
}

/// The head of a thread's list of robust futexes, as an address in its own memory.
pub(crate) fn robust_list_head(tid: i32) -> Option<u64> {
    let (mut head, mut len) = (0usize, 0usize);
    // SAFETY: both are writable and outlive the call.
    let rc = unsafe { libc::syscall(libc::SYS_get_robust_list, tid, &raw mut head, &raw mut len) };
    (rc == 0 && head != 0).then_some(head as u64)
}
