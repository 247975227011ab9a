//! The system calls of the handler. A handler may run in the middle of anything, so these take no lock, allocate nothing,
//! and touch no memory but what their callers hand in.
//!
//! # Safety
//! Each call's arguments outlive it, and it writes to places of its own function only.
#![allow(unsafe_code)]

use std::{
    io::IoSlice,
    mem::MaybeUninit,
    os::fd::{BorrowedFd, RawFd},
    ptr::null_mut,
};

use kernel::sys::scm_rights;

use super::packet::{Happened, NAME_BYTES};

/// Sends one packet, or none if there is no room for it.
pub(super) fn send(socket: RawFd, parts: &[IoSlice<'_>]) {
    // SAFETY: only a number to the kernel, which knows whether it is open.
    let socket = unsafe { BorrowedFd::borrow_raw(socket) };
    let _ = scm_rights::send(socket, parts, &[], libc::MSG_DONTWAIT);
}

/// `None` if it is no file of that kind. (The C library's function has the empty path on a page of its own.)
#[inline]
pub(super) fn inode(number: RawFd, kind: libc::mode_t) -> Option<u64> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    let path = [0_u8];
    // SAFETY: a path that ends with a NUL; the place is this function's own.
    let rc =
        unsafe { libc::syscall(libc::SYS_newfstatat, number, path.as_ptr(), stat.as_mut_ptr(), libc::AT_EMPTY_PATH) };
    if rc != 0 {
        return None;
    }
    // SAFETY: the kernel has filled it.
    let stat = unsafe { stat.assume_init() };
    (stat.st_mode & libc::S_IFMT == kind).then_some(stat.st_ino)
}

/// The number of the call, and the architecture that it is a number of.
pub(super) fn refused_call(info: &libc::siginfo_t) -> (i32, u32) {
    /// As the kernel fills it for `SIGSYS`.
    #[repr(C)]
    struct SigsysInfo {
        head: [i32; 3],
        // At the same place as the union of the other signals.
        instruction: *const libc::c_void,
        call: i32,
        architecture: u32,
    }
    let info: *const libc::siginfo_t = info;
    // SAFETY: a siginfo_t is longer, aligned as well, and plain data.
    let refused = unsafe { &*info.cast::<SigsysInfo>() };
    (refused.call, refused.architecture)
}

pub(super) fn change_mask(how: i32, signal: i32) {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: initialises the set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: initialised above.
    unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    // SAFETY: as above; the mask is this thread's own.
    unsafe { libc::pthread_sigmask(how, set.as_ptr(), null_mut()) };
}

/// Prints what std would print; std does so only in a process whose `main` it has set up, unlike a child of ours.
pub(super) fn print_overflow(happened: &Happened) {
    let len = happened.name.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES);
    let name = if happened.pid == happened.tid { b"main" } else { &happened.name[..len] };
    let mut text = [0; 128];
    let mut len = 0;
    for part in [b"\nthread '", name, b"' has overflowed its stack\nfatal runtime error: stack overflow\n"] {
        text[len..len + part.len()].copy_from_slice(part);
        len += part.len();
    }
    // SAFETY: the text is as long as it is said to be.
    unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), len) };
}

pub(super) fn thread_id() -> i32 {
    // SAFETY: takes and changes nothing.
    unsafe { libc::syscall(libc::SYS_gettid) as i32 }
}

pub(super) fn sleep_a_millisecond() {
    let time = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    // SAFETY: the time outlives the call.
    unsafe { libc::nanosleep(&raw const time, null_mut()) };
}
