//! The file for payloads that are too large for a slot: never mapped, so that nothing in it can change once read.

use std::{io, os::fd::OwnedFd};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, fallocate},
    sys::{
        stat::fstat,
        uio::{pread, pwrite},
    },
};

use kernel::sys::{
    memfd::{self, Reserve, may_reach},
    page,
};

use crate::layout::{N_BUFFERS, N_SLOTS};

/// Most bytes of one payload.
pub(super) const MAX_BYTES: u64 = 8 << 30;
/// Payloads up to this keep their pages, for the next to come by; the pages of larger ones are given back. Chunks keep
/// more, for there are few of them in a lane, and more still while one follows the other.
const KEEP_BYTES: u64 = 16 << 10;
const KEEP_CHUNK_BYTES: u64 = 64 << 10;
const KEEP_BUSY_CHUNK_BYTES: u64 = 1 << 20;

/// Where a payload lies.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// The task in a slot, which has no stream.
    Task(usize),
    /// The task with a stream buffer: these are few, so that the same pages serve again and again.
    Chunk(u32),
    /// The result in a slot.
    Result(usize),
}

impl Place {
    /// The place of the task in a slot.
    pub(super) fn task(slot: usize, buffer: Option<u32>) -> Self {
        buffer.map_or(Self::Task(slot), Self::Chunk)
    }

    pub(super) fn offset(self) -> i64 {
        let index = match self {
            Self::Task(slot) => slot,
            Self::Result(slot) => N_SLOTS + slot,
            Self::Chunk(buffer) => 2 * N_SLOTS + buffer as usize % N_BUFFERS,
        };
        (index as u64 * MAX_BYTES) as i64
    }
}

const N_PLACES: usize = 2 * N_SLOTS + N_BUFFERS;

pub(super) fn create() -> io::Result<OwnedFd> {
    Ok(memfd::sealed("lane-spill", MAX_BYTES * N_PLACES as u64, Reserve::Lazily)?)
}

/// `ENOSPC`/`ENOMEM` if memory is short, `EFBIG` beyond the maximum.
pub(super) fn write(fd: &OwnedFd, place: Place, mut bytes: &[u8]) -> io::Result<()> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Errno::EFBIG.into());
    }
    let mut at = place.offset();
    may_reach(at as u64 + bytes.len() as u64)?;
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
pub(super) fn read(fd: &OwnedFd, place: Place, len: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    let in_file = fstat(fd)?.st_blocks as u64 * 512;
    if len > in_file.min(MAX_BYTES) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut left = usize::try_from(len).map_err(io::Error::other)?;
    bytes.try_reserve_exact(left).map_err(|_| Errno::ENOMEM)?;
    let mut at = place.offset();
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

/// Whether the memory of a chunk is best left where it is, as long as others follow.
pub(super) fn is_soon_filled_again(len: u64) -> bool {
    (KEEP_CHUNK_BYTES..KEEP_BUSY_CHUNK_BYTES).contains(&len)
}

/// Gives the pages of a large payload back.
pub(super) fn release(fd: &OwnedFd, place: Place, len: u64) {
    let keep = if matches!(place, Place::Chunk(_)) { KEEP_CHUNK_BYTES } else { KEEP_BYTES };
    if len > keep {
        let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        // Whole pages: of one that a hole begins in, the kernel keeps the memory.
        let pages = len.min(MAX_BYTES).next_multiple_of(page::size() as u64);
        // What is not given back now is written over by the next payload, or freed with the lane.
        let _ = fallocate(fd, punch, place.offset(), pages as i64);
    }
}
