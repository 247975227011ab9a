//! Care for the descriptor table of a freshly started process.
//!
//! # Safety
//! Runs at a time when the process has no descriptors but those that were just handed to it.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open},
    sys::stat::Mode,
};

/// A descriptor above the three of standard input, output and error, closed on exec.
pub fn duplicate(fd: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let copy = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(3))?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// The same descriptor if it lies above the three of standard input, output and error; else a duplicate that does, closed
/// on exec.
///
/// # Errors
/// `EMFILE` if the descriptor table is full.
pub fn above_standard_streams<T: AsFd + From<OwnedFd>>(fd: T) -> nix::Result<T> {
    if fd.as_fd().as_raw_fd() > 2 { Ok(fd) } else { duplicate(fd.as_fd()).map(T::from) }
}

/// Keeps the numbers of closed standard streams from being given to anything else: until it is dropped, the null device lies
/// there, which is closed on exec.
///
/// For code of others that opens descriptors: std's `Command` makes pipes, and a child that finds the end of one at the very
/// number that it is to have there loses it at the exec.
#[derive(Debug)]
pub struct Occupied {
    _null: Vec<OwnedFd>,
}

impl Occupied {
    /// Occupies those that are closed.
    pub fn new() -> nix::Result<Self> {
        let mut null = Vec::new();
        // SAFETY: only asks; a number that is not open is EBADF.
        while (0..=2).any(|number| unsafe { libc::fcntl(number, libc::F_GETFD) } < 0) {
            let fd = open_nothing(OFlag::O_CLOEXEC)?;
            if fd.as_raw_fd() > 2 {
                // Another thread has taken the number meanwhile.
                break;
            }
            null.push(fd);
        }
        Ok(Self { _null: null })
    }
}

/// Standard stream `number`, which may be closed: then whatever is asked about it is EBADF.
pub fn standard_stream(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the standard streams have no owner, so none that is open is closed by its owner.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// Opens the null device for each of descriptors 0 to 2 that is closed, so that nothing else ever comes to lie there.
pub fn fill_standard_streams() -> nix::Result<()> {
    // SAFETY: only asks; a number that is not open is EBADF.
    while (0..=2).any(|number| unsafe { libc::fcntl(number, libc::F_GETFD) } < 0) {
        // This process has one thread, so it is the lowest number that is free.
        std::mem::forget(open_nothing(OFlag::empty())?);
    }
    Ok(())
}

/// The null device; where there is none, what keeps its place and can be neither read nor written.
pub fn open_nothing(flags: OFlag) -> nix::Result<OwnedFd> {
    match open("/dev/null", OFlag::O_RDWR | flags, Mode::empty()) {
        Err(Errno::ENOENT | Errno::ENXIO | Errno::EACCES) => open("/", OFlag::O_PATH | flags, Mode::empty()),
        opened => opened,
    }
}

/// Closes it by the kernel's call itself: the C library's function lies on a page that a child needs for nothing else.
#[inline]
pub fn close(fd: impl Into<OwnedFd>) {
    let number = fd.into().into_raw_fd();
    // SAFETY: it was owned, and is not any more.
    unsafe { libc::syscall(libc::SYS_close, number) };
}

/// Puts `fd` in the place of standard stream `number`.
pub fn replace_standard_stream(fd: BorrowedFd<'_>, number: RawFd) -> nix::Result<()> {
    // SAFETY: closes what was standard stream `number`, which has no owner.
    Errno::result(unsafe { libc::dup2(fd.as_raw_fd(), number) }).map(drop)
}

/// Takes charge of an inherited descriptor, if `number` is one.
pub fn adopt(number: RawFd) -> nix::Result<OwnedFd> {
    // SAFETY: only asks; a wrong number is EBADF.
    Errno::result(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    if number <= 2 {
        // SAFETY: it is open, and no code closes standard streams.
        return duplicate(unsafe { BorrowedFd::borrow_raw(number) });
    }
    // SAFETY: it is open, and this process has just begun: no other code can have taken charge of it.
    let inherited = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl(&inherited, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(inherited)
}

/// Closes everything above the standard streams, except `kept`.
pub fn close_all_but(kept: &[RawFd]) {
    let mut kept: Vec<_> = kept.iter().filter(|fd| **fd > 2).map(|fd| *fd as u32).collect();
    kept.sort_unstable();
    let mut from = 3;
    for fd in kept.into_iter().chain([u32::MAX]) {
        if from < fd {
            // SAFETY: what lies in the range was inherited by accident and has no owner here.
            unsafe { libc::syscall(libc::SYS_close_range, from, fd.saturating_sub(1), 0) };
        }
        from = fd.saturating_add(1);
    }
}
