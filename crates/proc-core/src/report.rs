//! What a child leaves behind for its owner: a memory file with its value, its panic, or why it did not start.
//!
//! A memory file, not a pipe: a child never waits for its result to be read, so joining never deadlocks, whatever the
//! size. Its owner looks into it after the child's exit only.
//!
//! The file is also how owner and child agree on whether the child ever ran, should the fork server die between the
//! two: the child *claims* the file first of all (a record lock, which only one can have and which dies with it, then
//! a note). An owner that gets the lock for itself and finds no note knows that no child has run, nor ever will.

use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
};

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use crate::{function::CallError, handover, sys::record_lock};

/// The file. Starts with a head of [`HEAD_BYTES`]: kind, pid, and length of what follows.
#[derive(Debug)]
pub(crate) struct Report(std::fs::File);

const HEAD_BYTES: usize = 16;
const CLAIMED: u32 = 1;
const VALUE: u32 = 2;
const FAILURE: u32 = 3;

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

    /// In the child: claims the right to run. False if the owner has given this child up.
    pub(crate) fn claim(&self) -> io::Result<bool> {
        if !record_lock::try_lock(self.as_fd())? {
            return Ok(false);
        }
        self.write(CLAIMED, &[]).map(|()| true)
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

    /// In the owner: gives up on a child whose start was not confirmed, or learns the pid of the child that runs.
    ///
    /// After `Ok(None)`, and as long as this file is open, no child can claim it.
    pub(crate) fn give_up(&self) -> io::Result<Option<u32>> {
        // If the child holds the lock it is about to leave its note, or has.
        let locked = record_lock::try_lock(self.as_fd())?;
        loop {
            match self.head()? {
                Some((_, pid, _)) => return Ok(Some(pid)),
                None if locked => return Ok(None),
                // It may also die in between: then the lock comes free.
                None if record_lock::try_lock(self.as_fd())? => return Ok(self.head()?.map(|(_, pid, _)| pid)),
                None => std::thread::yield_now(),
            }
        }
    }

    /// In the owner: lets the next child claim it, after the one that was given up is known not to exist.
    pub(crate) fn offer_again(&self) -> io::Result<()> {
        Ok(record_lock::unlock(self.as_fd())?)
    }

    /// In the owner, after the child's exit: what it left.
    pub(crate) fn read(&self) -> io::Result<Found> {
        let mut start = [0; 4096];
        let n = self.0.read_at(&mut start, 0)?;
        let Some((kind, _, len)) = parse_head(&start[..n]) else { return Ok(Found::Nothing) };
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
            CLAIMED => Ok(Found::Nothing),
            VALUE => Ok(Found::Value(body)),
            FAILURE => handover::unpack(&body, Vec::new()).map(Found::Failure).map_err(io::Error::other),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the report is garbled")),
        }
    }

    fn head(&self) -> io::Result<Option<(u32, u32, u64)>> {
        let mut head = [0; HEAD_BYTES];
        let n = self.0.read_at(&mut head, 0)?;
        Ok(parse_head(&head[..n]))
    }

    /// The body first: a head is only ever in front of a whole body.
    fn write(&self, kind: u32, body: &[u8]) -> io::Result<()> {
        self.0.write_all_at(body, HEAD_BYTES as u64)?;
        let mut head = [0; HEAD_BYTES];
        head[..4].copy_from_slice(&kind.to_ne_bytes());
        head[4..8].copy_from_slice(&std::process::id().to_ne_bytes());
        head[8..].copy_from_slice(&(body.len() as u64).to_ne_bytes());
        self.0.write_all_at(&head, 0)
    }
}

fn parse_head(bytes: &[u8]) -> Option<(u32, u32, u64)> {
    let (head, _) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let [a, b, c, d, e, f, g, h, length @ ..] = *head;
    Some((u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]), u64::from_ne_bytes(length)))
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
            assert!(report.claim().unwrap());
            report.value(&vec![7; len]).unwrap();
            assert!(matches!(report.read().unwrap(), Found::Value(v) if v == vec![7; len]));
        }
    }

    #[test]
    fn claimed_or_given_up() {
        let report = Report::new().unwrap();
        assert_eq!(report.give_up().unwrap(), None);
        let report = Report::new().unwrap();
        assert!(report.claim().unwrap());
        assert_eq!(report.give_up().unwrap(), Some(std::process::id()));
        assert!(matches!(report.read().unwrap(), Found::Nothing));
    }

    #[test]
    fn garbage_is_an_error() {
        let report = Report::new().unwrap();
        report.0.write_all_at(&[0xff; 64], 0).unwrap();
        assert!(report.read().is_err());
    }
}
