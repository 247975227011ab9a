//! POSIX record locks: owned by a process, and let go by the kernel when it dies.

use std::os::fd::BorrowedFd;

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    libc::flock,
};

/// Tries to take the file's lock for the calling process.
///
/// The lock is gone as soon as the process closes *any* descriptor of the file.
pub(crate) fn try_lock(fd: BorrowedFd<'_>) -> nix::Result<bool> {
    match fcntl(fd, FcntlArg::F_SETLK(&whole_file())) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(e) => Err(e),
    }
}

fn whole_file() -> flock {
    flock { l_type: libc::F_WRLCK as i16, l_whence: libc::SEEK_SET as i16, l_start: 0, l_len: 0, l_pid: 0 }
}
