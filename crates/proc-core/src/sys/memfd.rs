//! Anonymous memory files: no name, nothing to clean up, gone with their last user.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl},
    sys::{
        memfd::{MFdFlags, memfd_create},
        resource::{Resource, getrlimit},
        statfs::{HUGETLBFS_MAGIC, fstatfs},
    },
    unistd::ftruncate,
};

use super::fds::above_standard_streams;

/// Whether the pages of a memory file exist from the start.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reserve {
    /// All of them: want of memory is an error now, never a SIGBUS later.
    Now,
    /// Each when it is first written to.
    Lazily,
}

/// `EFBIG` if this process may not have a file that ends at `end` (`RLIMIT_FSIZE`): to try would be its death by SIGXFSZ.
pub(crate) fn may_reach(end: u64) -> nix::Result<()> {
    let (limit, _) = getrlimit(Resource::RLIMIT_FSIZE)?;
    if end <= limit { Ok(()) } else { Err(Errno::EFBIG) }
}

/// Makes a memory file of fixed length: sealed against shrinking, growing and further seals.
pub(crate) fn sealed(name: &str, len_bytes: u64, reserve: Reserve) -> nix::Result<OwnedFd> {
    may_reach(len_bytes)?;
    let fd = above_standard_streams(memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?)?;
    let len = i64::try_from(len_bytes).map_err(|_| Errno::EFBIG)?;
    match reserve {
        Reserve::Now => fallocate(&fd, FallocateFlags::empty(), 0, len)?,
        Reserve::Lazily => ftruncate(&fd, len)?,
    }
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&fd, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(fd)
}

/// The length of a memory file that can no longer change, or `EPERM` if its length is not sealed. `EINVAL` for one of
/// huge pages: where there are no more of those, touching it is a SIGBUS.
pub(crate) fn sealed_len(fd: &OwnedFd) -> nix::Result<u64> {
    if fstatfs(fd)?.filesystem_type() == HUGETLBFS_MAGIC {
        return Err(Errno::EINVAL);
    }
    let seals = SealFlag::from_bits_truncate(fcntl(fd, FcntlArg::F_GET_SEALS)?);
    if !seals.contains(SealFlag::F_SEAL_SHRINK) {
        return Err(Errno::EPERM);
    }
    let stat = nix::sys::stat::fstat(fd)?;
    u64::try_from(stat.st_size).map_err(|_| Errno::EINVAL)
}

/// Makes a memory file that holds `parts`, one after another.
pub(crate) fn holding(name: &str, parts: &[&[u8]]) -> io::Result<File> {
    may_reach(parts.iter().map(|part| part.len() as u64).sum())?;
    let file = File::from(above_standard_streams(memfd_create(name, MFdFlags::MFD_CLOEXEC)?)?);
    let mut offset = 0;
    for part in parts {
        file.write_all_at(part, offset)?;
        offset += part.len() as u64;
    }
    Ok(file)
}

/// Reads a memory file that another process made: as much as it really holds.
pub(crate) fn read_whole(file: OwnedFd) -> io::Result<Vec<u8>> {
    // Only memory files have seals; anything else might block.
    fcntl(file.as_fd(), FcntlArg::F_GET_SEALS)?;
    let file = File::from(file);
    let len = file.metadata()?.len();
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
