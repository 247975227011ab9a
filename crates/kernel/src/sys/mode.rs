//! The permission bits of a file that a descriptor names, whatever its path leads to by now.
//!
//! # Safety
//! A raw system call that neither nix nor the C library offers; the pointer handed in outlives it.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::{
    errno::Errno,
    fcntl::AT_FDCWD,
    sys::stat::{FchmodatFlags, Mode, fchmodat},
};

/// `fchmodat2`, of Linux 6.6. The number is the same on all architectures that this crate supports.
const SYS_FCHMODAT2: libc::c_long = 452;

/// Sets the mode of the file behind `fd`, which may be an `O_PATH` descriptor.
///
/// Where the kernel is too old for that, needs a `/proc` in which the calling process can see itself.
pub fn set(fd: BorrowedFd<'_>, mode: Mode) -> nix::Result<()> {
    let (number, empty) = (fd.as_raw_fd(), c"".as_ptr());
    // SAFETY: the string is static; the kernel only reads it.
    let changed = unsafe { libc::syscall(SYS_FCHMODAT2, number, empty, mode.bits(), libc::AT_EMPTY_PATH) };
    match Errno::result(changed) {
        Ok(_) => Ok(()),
        // Too old, or a filter that does not know the call.
        Err(Errno::ENOSYS | Errno::EPERM) => {
            let path = format!("/proc/self/fd/{number}");
            fchmodat(AT_FDCWD, path.as_str(), mode, FchmodatFlags::FollowSymlink)
        }
        Err(e) => Err(e),
    }
}
