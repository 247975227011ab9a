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
pub fn try_share(fd: BorrowedFd<'_>, byte: i64) -> nix::Result<bool> {
    set(fd, lock(libc::F_RDLCK, byte, 1))
}

/// Takes an exclusive lock on the first `len` bytes, which need not exist; false if another opening has any lock there.
/// The descriptor must be open for writing.
pub fn try_exclude(fd: BorrowedFd<'_>, len: i64) -> nix::Result<bool> {
    set(fd, lock(libc::F_WRLCK, 0, len))
}

/// Whether any opening has a lock on the byte.
///
/// Asked with `F_GETLK`, for which the asker is a process and not an opening: `F_OFD_GETLK` passes over the locks of the
/// very opening that it is asked through.
pub fn is_locked(fd: BorrowedFd<'_>, byte: i64) -> nix::Result<bool> {
    let mut lock = lock(libc::F_WRLCK, byte, 1);
    fcntl(fd, FcntlArg::F_GETLK(&mut lock))?;
    Ok(lock.l_type != libc::F_UNLCK as i16)
}

/// The length of the exclusive lock on the first byte; `None` if no opening has one.
///
/// Shared locks do not count: any process that may read the file can have one.
pub fn excluded(fd: BorrowedFd<'_>) -> nix::Result<Option<i64>> {
    let mut lock = lock(libc::F_RDLCK, 0, 1);
    fcntl(fd, FcntlArg::F_GETLK(&mut lock))?;
    Ok((lock.l_type != libc::F_UNLCK as i16).then_some(lock.l_len))
}

fn set(fd: BorrowedFd<'_>, lock: flock) -> nix::Result<bool> {
    match fcntl(fd, FcntlArg::F_OFD_SETLK(&lock)) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(e) => Err(e),
    }
}

fn lock(kind: i32, start: i64, len: i64) -> flock {
    flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: start, l_len: len, l_pid: 0 }
}
