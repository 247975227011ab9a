//! The file for payloads that are too large for a slot: never mapped, so that nothing in it can change once read.

use std::{io, os::fd::OwnedFd};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl},
    sys::{
        memfd::{MFdFlags, memfd_create},
        stat::fstat,
        uio::{pread, pwrite},
    },
    unistd::ftruncate,
};

use super::layout::N_SLOTS;

/// Most bytes of one payload.
pub(super) const MAX_BYTES: u64 = 8 << 30;
/// Payloads up to this keep their pages, for the next to come by; the pages of larger ones are given back.
const KEEP_BYTES: u64 = 16 << 10;

/// Which of a slot's two places.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Task = 0,
    Result = 1,
}

pub(super) fn create() -> io::Result<OwnedFd> {
    let fd = memfd_create("ipc-lane-spill", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    ftruncate(&fd, (MAX_BYTES * 2 * N_SLOTS as u64) as i64)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&fd, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(fd)
}

fn offset(slot: usize, side: Side) -> i64 {
    ((slot as u64 * 2 + side as u64) * MAX_BYTES) as i64
}

/// `ENOSPC`/`ENOMEM` if memory is short, `EFBIG` beyond the maximum.
pub(super) fn write(fd: &OwnedFd, slot: usize, side: Side, mut bytes: &[u8]) -> io::Result<()> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Errno::EFBIG.into());
    }
    let mut at = offset(slot, side);
    while !bytes.is_empty() {
        match pwrite(fd, bytes, at) {
            Ok(0) => return Err(Errno::ENOSPC.into()),
            Ok(n) => {
                bytes = &bytes[n..];
                at += n as i64;
            }
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Appends `len` bytes to `bytes`; an error if `len` is made up, for want of so many bytes in the whole file.
pub(super) fn read(fd: &OwnedFd, slot: usize, side: Side, len: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    let in_file = fstat(fd)?.st_blocks as u64 * 512;
    if len > in_file.min(MAX_BYTES) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut left = usize::try_from(len).map_err(io::Error::other)?;
    bytes.try_reserve_exact(left).map_err(|_| Errno::ENOMEM)?;
    let mut at = offset(slot, side);
    while left > 0 {
        let begin = bytes.len();
        bytes.resize(begin + left.min(1 << 20), 0);
        let got = pread(fd, &mut bytes[begin..], at);
        bytes.truncate(begin + *got.as_ref().unwrap_or(&0));
        match got {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                left -= n;
                at += n as i64;
            }
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Gives the pages of a large payload back.
pub(super) fn release(fd: &OwnedFd, slot: usize, side: Side, len: u64) {
    if len > KEEP_BYTES {
        let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        // What is not given back now is written over by the next payload, or freed with the lane.
        let _ = fallocate(fd, punch, offset(slot, side), len.min(MAX_BYTES) as i64);
    }
}
