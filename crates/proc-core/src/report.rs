//! What a child leaves behind for its owner: a memory file with its value, its panic, or why it did not start.
//!
//! A memory file, not a pipe: a child never waits for its result to be read, so joining never deadlocks, whatever the
//! size. Its owner looks into it after the child's exit only.

use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
};

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use crate::{function::CallError, handover};

/// The file. Starts with a head of [`HEAD_BYTES`]: kind, and length of what follows.
#[derive(Debug)]
pub(crate) struct Report(std::fs::File);

const HEAD_BYTES: usize = 16;
const VALUE: u64 = 1;
const FAILURE: u64 = 2;
/// Values of up to this size are written in one piece with their head.
const SMALL_BYTES: usize = 240;

/// Why there is no value.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    /// The process could not be set up as asked: what was being done, and the error number.
    Setup(String, i32),
    /// The call did not end with a value.
    Call(CallError),
}

/// What the owner finds.
#[derive(Debug)]
pub(crate) enum Found {
    /// No word of an end: it died, or called `exit`, or executed another program.
    Nothing,
    Value(Vec<u8>),
    Failure(Failure),
}

impl Report {
    pub(crate) fn new() -> nix::Result<Self> {
        Ok(Self(std::fs::File::from(memfd_create("proc-core-report", MFdFlags::MFD_CLOEXEC)?)))
    }

    /// In the child: leaves its value.
    pub(crate) fn value(&self, value: &[u8]) -> io::Result<()> {
        self.write(VALUE, value)
    }

    /// In the child: leaves the reason why there is no value.
    pub(crate) fn failure(&self, failure: &Failure) -> io::Result<()> {
        let bytes = postcard::to_stdvec(failure).map_err(io::Error::other)?;
        self.write(FAILURE, &bytes)
    }

    /// In the owner, after the child's exit: what it left.
    pub(crate) fn read(&self) -> io::Result<Found> {
        let mut start = [0; 4096];
        let n = self.0.read_at(&mut start, 0)?;
        let Some((kind, len)) = parse_head(&start[..n]) else { return Ok(Found::Nothing) };
        // The length is the child's word; the file's is the kernel's.
        if len > start.len() as u64 && len > self.0.metadata()?.len() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the report is cut off"));
        }
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let mut body = vec![0; len];
        let inline = len.min(n - HEAD_BYTES);
        body[..inline].copy_from_slice(&start[HEAD_BYTES..HEAD_BYTES + inline]);
        self.0.read_exact_at(&mut body[inline..], (HEAD_BYTES + inline) as u64)?;
        match kind {
            VALUE => Ok(Found::Value(body)),
            FAILURE => handover::unpack(&body, Vec::new()).map(Found::Failure).map_err(io::Error::other),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the report is garbled")),
        }
    }

    /// The body first: a head is only ever in front of a whole body.
    fn write(&self, kind: u64, body: &[u8]) -> io::Result<()> {
        if body.len() <= SMALL_BYTES {
            let mut whole = [0; HEAD_BYTES + SMALL_BYTES];
            whole[..HEAD_BYTES].copy_from_slice(&head(kind, body.len()));
            whole[HEAD_BYTES..][..body.len()].copy_from_slice(body);
            // One write of one page: it happens, or it does not.
            return self.0.write_all_at(&whole[..HEAD_BYTES + body.len()], 0);
        }
        self.0.write_all_at(body, HEAD_BYTES as u64)?;
        self.0.write_all_at(&head(kind, body.len()), 0)
    }
}

fn head(kind: u64, len: usize) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..8].copy_from_slice(&kind.to_ne_bytes());
    head[8..].copy_from_slice(&(len as u64).to_ne_bytes());
    head
}

fn parse_head(bytes: &[u8]) -> Option<(u64, u64)> {
    let (head, _) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let [kind @ .., _, _, _, _, _, _, _, _] = *head;
    let [_, _, _, _, _, _, _, _, len @ ..] = *head;
    Some((u64::from_ne_bytes(kind), u64::from_ne_bytes(len)))
}

impl AsFd for Report {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Report {
    fn from(fd: OwnedFd) -> Self {
        Self(fd.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_any_size() {
        for len in [0, 1, 4079, 4080, 4081, 3 << 20] {
            let report = Report::new().unwrap();
            report.value(&vec![7; len]).unwrap();
            assert!(matches!(report.read().unwrap(), Found::Value(v) if v == vec![7; len]));
        }
    }

    #[test]
    fn garbage_is_an_error() {
        let report = Report::new().unwrap();
        report.0.write_all_at(&[0xff; 64], 0).unwrap();
        assert!(report.read().is_err());
    }
}
