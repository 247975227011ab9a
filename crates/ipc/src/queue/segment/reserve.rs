//! Putting memory behind a part of a file.

use std::{io, os::fd::OwnedFd};

use kernel::sys::page;
use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, fallocate},
};

pub(super) fn offset(bytes: u64) -> i64 {
    i64::try_from(bytes).expect("`Geometry` keeps files far below 2^63 bytes")
}

/// Puts memory behind a part of the file. A signal undoes the call that it interrupts, and a timer's next signal would
/// undo the same call again: so a call that was interrupted is repeated in smaller pieces.
pub(super) fn reserve(fd: &OwnedFd, at: u64, len: usize) -> io::Result<()> {
    let (mut done, mut piece) = (0, len);
    while done < len {
        piece = piece.min(len - done);
        match fallocate(fd, FallocateFlags::empty(), offset(at + done as u64), offset(piece as u64)) {
            Ok(()) => done += piece,
            Err(Errno::EINTR) => piece = (piece / 2).next_multiple_of(page::size()),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
