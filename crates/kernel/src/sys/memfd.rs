//! Anonymous memory files: no name, nothing to clean up, gone with their last user.

use std::{
    fs::File,
    io::{self, Read, Seek},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{FileExt, MetadataExt},
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserve {
    /// All of them: want of memory is an error now, never a SIGBUS later.
    Now,
    /// Each when it is first written to.
    Lazily,
}

/// `EFBIG` if this process may not have a file that ends at `end` (`RLIMIT_FSIZE`): to try would be its death by SIGXFSZ.
pub fn may_reach(end: u64) -> nix::Result<()> {
    let (limit, _) = getrlimit(Resource::RLIMIT_FSIZE)?;
    if end <= limit { Ok(()) } else { Err(Errno::EFBIG) }
}

/// Makes a memory file of fixed length: sealed against shrinking, growing and further seals.
pub fn sealed(name: &str, len_bytes: u64, reserve: Reserve) -> nix::Result<OwnedFd> {
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

/// Makes a memory file of holes that is to be filled, and then be given to [`seal_contents`].
pub fn growing(name: &str, len_bytes: u64) -> nix::Result<OwnedFd> {
    may_reach(len_bytes)?;
    let fd = above_standard_streams(memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?)?;
    ftruncate(&fd, i64::try_from(len_bytes).map_err(|_| Errno::EFBIG)?)?;
    Ok(fd)
}

/// Seals what a memory file holds, and its length. Private mappings of it can still be written to.
pub fn seal_contents(fd: &OwnedFd) -> nix::Result<()> {
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(fd, FcntlArg::F_ADD_SEALS(seals)).map(drop)
}

/// The length of a memory file that can no longer change, or `EPERM` if its length is not sealed. `EINVAL` for one of
/// huge pages: where there are no more of those, touching it is a SIGBUS.
pub fn sealed_len(fd: &OwnedFd) -> nix::Result<u64> {
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
pub fn holding(name: &str, parts: &[&[u8]]) -> io::Result<File> {
    may_reach(parts.iter().map(|part| part.len() as u64).sum())?;
    let file = File::from(above_standard_streams(memfd_create(name, MFdFlags::MFD_CLOEXEC)?)?);
    let mut offset = 0;
    for part in parts {
        file.write_all_at(part, offset)?;
        offset += part.len() as u64;
    }
    Ok(file)
}

/// Reads a memory file that another process made.
///
/// `EFBIG` for one that claims more than it holds: a file of holes costs its maker nothing, and could kill the reader for
/// want of memory.
/// `ENOMEM` if there is no room for what it holds.
pub fn read_whole(file: OwnedFd) -> io::Result<Vec<u8>> {
    // Only memory files have seals; anything else might block.
    fcntl(file.as_fd(), FcntlArg::F_GET_SEALS)?;
    let mut file = File::from(file);
    let meta = file.metadata()?;
    // In units of 512 bytes, whatever the size of a block.
    if meta.len() > meta.blocks().saturating_mul(512) {
        return Err(Errno::EFBIG.into());
    }
    let len = usize::try_from(meta.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    file.rewind()?;
    file.take(meta.len()).read_to_end(&mut bytes)?;
    if bytes.len() < len { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_holes_is_refused() {
        for len in [1 << 12, 1 << 30, 32 << 40, i64::MAX] {
            let file = memfd_create("test", MFdFlags::MFD_CLOEXEC).unwrap();
            ftruncate(&file, len).unwrap();
            assert_eq!(read_whole(file).unwrap_err().raw_os_error(), Some(Errno::EFBIG as i32), "{len}");
        }
        // One page at the end of it.
        let file = File::from(memfd_create("test", MFdFlags::MFD_CLOEXEC).unwrap());
        file.write_all_at(&[7], 1 << 40).unwrap();
        assert!(read_whole(file.into()).is_err());
    }

    #[test]
    fn what_was_written_is_read() {
        for len in [0, 1, 4095, 4096, 4097, 3 << 20] {
            let file = holding("test", &[&vec![7; len], &[8]]).unwrap();
            let bytes = read_whole(file.into()).unwrap();
            assert!(bytes.len() == len + 1 && bytes[..len].iter().all(|byte| *byte == 7) && bytes[len] == 8);
        }
    }
}
