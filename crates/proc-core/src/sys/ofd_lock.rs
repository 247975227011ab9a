//! Locks of one opening of a file (`F_OFD_SETLK`): the kernel drops them when the last descriptor and the last mapping
//! of that opening are gone.

use std::os::fd::BorrowedFd;

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    libc::flock,
};

/// Takes a shared lock on one byte; false if another opening has it exclusively.
///
/// Shared, since an exclusive one needs an opening that may write.
pub(crate) fn try_share(fd: BorrowedFd<'_>, byte: i64) -> nix::Result<bool> {
    match fcntl(fd, FcntlArg::F_OFD_SETLK(&lock(libc::F_RDLCK, byte))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Whether any opening has a lock on the byte.
///
/// Asked with `F_GETLK`, for which the asker is a process and not an opening: `F_OFD_GETLK` passes over the locks of the
/// very opening that it is asked through.
pub(crate) fn is_locked(fd: BorrowedFd<'_>, byte: i64) -> nix::Result<bool> {
    let mut lock = lock(libc::F_WRLCK, byte);
    fcntl(fd, FcntlArg::F_GETLK(&mut lock))?;
    Ok(lock.l_type != libc::F_UNLCK as i16)
}

fn lock(kind: i32, byte: i64) -> flock {
    flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: byte, l_len: 1, l_pid: 0 }
}
