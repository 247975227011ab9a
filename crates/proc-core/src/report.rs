//! What a child leaves behind for its owner: a packet with its value, its panic, or why it did not start.
//!
//! It goes over the socket that its request came by, into a queue that was empty, so that the child never waits for it
//! to be read, and joining never deadlocks. The value's descriptors go with it. What is larger than [`INLINE_BYTES`] goes as a memory file beside the
//! packet. A packet is there as a whole or not at all, wherever the child was killed. Its owner looks for it after the
//! child's exit only.

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::{
    crash::{self, CrashReport},
    function::CallError,
};
use kernel::{
    handover::{self, Packed},
    sys::{memfd, seqpacket},
};

/// One end of the socket. A packet is a byte that says what it holds, and the body.
#[derive(Debug)]
pub(crate) struct Report(OwnedFd);

const VALUE: u8 = 1;
const FAILURE: u8 = 2;
/// Added to either: the body is in a memory file.
const IN_FILE: u8 = 0x80;
/// Bodies of up to this size travel in the packet.
const INLINE_BYTES: usize = 4096;

/// Why there is no value.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    /// The process could not be set up as asked: what was being done, and the error number.
    Setup(String, i32),
    /// The call did not end with a value.
    Call(CallError),
    /// It was a fork server's loader, and left these threads running.
    Threads(Vec<String>),
}

/// What the owner finds.
#[derive(Debug)]
pub(crate) enum Found {
    /// No report: it died, or called `exit`, or executed another program.
    Nothing,
    /// No report, and it has not received its request.
    Unread,
    Value(Packed),
    Failure(Failure),
}

/// All that the owner finds.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) found: io::Result<Found>,
    pub(crate) crash: Option<CrashReport>,
}

impl Report {
    /// The owner's end and the child's.
    pub(crate) fn pair() -> nix::Result<(Self, Self)> {
        let (owners, childs) = seqpacket::pair()?;
        Ok((Self(owners), Self(childs)))
    }

    /// In the child: leaves its value.
    pub(crate) fn value(&self, value: &Packed) -> io::Result<()> {
        self.send(VALUE, &value.bytes, &value.fds)
    }

    /// In the child: leaves the reason why there is no value.
    pub(crate) fn failure(&self, failure: &Failure) -> io::Result<()> {
        let mut bytes = Vec::new();
        wire::encode_named(failure, &mut bytes).map_err(io::Error::other)?;
        self.send(FAILURE, &bytes, &[])
    }

    fn send(&self, kind: u8, body: &[u8], fds: &[OwnedFd]) -> io::Result<()> {
        let mut fds: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let is_long = body.len() > INLINE_BYTES;
        if fds.len() + usize::from(is_long) > seqpacket::MAX_FDS {
            let why = "more than 252 descriptors in one value: send them by a pipe or a queue that is an argument of the process";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let sent = if is_long {
            let file = memfd::holding("proc-core-report", &[body])?;
            fds.insert(0, file.as_raw_fd());
            seqpacket::send_bytes(self.as_fd(), &[kind | IN_FILE], &fds)
        } else {
            seqpacket::send(self.as_fd(), &[IoSlice::new(&[kind]), IoSlice::new(body)], &fds)
        };
        match sent {
            // An owner that has dropped its end does not want the report.
            Ok(()) | Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// In the owner, after the child's exit, once: what it left. If it was killed, what comes after its value counts, too.
    pub(crate) fn read(&self, was_killed: bool) -> Left {
        let mut left = Left { found: Ok(Found::Nothing), crash: None };
        let mut most_bytes = 1 + INLINE_BYTES;
        // A crash that a handler of the program has dealt with may come before the value.
        let mut happened: Option<Vec<u8>> = None;
        let mut is_unread = false;
        loop {
            // Never waits: a grandchild may have the other end still.
            let (mut packet, mut fds) = (Vec::new(), Vec::new());
            let received = seqpacket::next_len(self.as_fd()).and_then(|len| {
                packet.resize(len.clamp(1, most_bytes), 0);
                seqpacket::receive_now(self.as_fd(), &mut packet, &mut fds)
            });
            let len = match received {
                // The kernel reports this once, before what there is to receive.
                Err(Errno::ECONNRESET) if !is_unread => {
                    is_unread = true;
                    continue;
                }
                Ok(0) | Err(Errno::EAGAIN | Errno::ECONNRESET) => {
                    if is_unread {
                        left.found = Ok(Found::Unread);
                    }
                    break;
                }
                Ok(len) => len,
                Err(e) => {
                    left.found = Err(e.into());
                    break;
                }
            };
            match packet[0] {
                crash::packet::HAPPENED if happened.is_none() => {
                    left.crash = CrashReport::parse(&packet[..len], None);
                    packet.truncate(len);
                    happened = Some(packet);
                    most_bytes = crash::packet::MAX_BYTES;
                }
                crash::packet::WHERE if happened.is_some() => {
                    let happened = happened.as_deref().unwrap_or_default();
                    left.crash = CrashReport::parse(happened, Some(&packet[..len]));
                }
                _ => {
                    left.found = parse(&packet[..len], fds);
                    if left.found.is_err() || !was_killed {
                        break;
                    }
                }
            }
        }
        left
    }
}

fn parse(packet: &[u8], mut fds: Vec<OwnedFd>) -> io::Result<Found> {
    let (kind, body) = (packet[0] & !IN_FILE, &packet[1..]);
    let body = match packet[0] & IN_FILE != 0 {
        false => body.to_vec(),
        true if fds.is_empty() => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the report is cut off")),
        true => memfd::read_whole(fds.remove(0))?,
    };
    match kind {
        VALUE => Ok(Found::Value(Packed { bytes: body, fds })),
        FAILURE => handover::unpack(&body, Vec::new()).map(Found::Failure).map_err(io::Error::other),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the report is garbled")),
    }
}

impl AsFd for Report {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Report> for OwnedFd {
    fn from(report: Report) -> Self {
        report.0
    }
}

impl From<OwnedFd> for Report {
    fn from(socket: OwnedFd) -> Self {
        Self(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_any_size() {
        for len in [0, 1, INLINE_BYTES, INLINE_BYTES + 1, 3 << 20] {
            let (owners, childs) = Report::pair().unwrap();
            for n_fds in [0, 1, 252] {
                let fds = (0..n_fds).map(|_| owners.0.try_clone().unwrap()).collect();
                childs.value(&Packed { bytes: vec![7; len], fds }).unwrap();
                let Found::Value(value) = owners.read(false).found.unwrap() else { panic!("a value was left") };
                assert_eq!((value.bytes, value.fds.len()), (vec![7; len], n_fds));
            }
        }
    }

    #[test]
    fn nothing_is_found_where_nothing_was_left() {
        let (owners, childs) = Report::pair().unwrap();
        assert!(matches!(owners.read(false).found.unwrap(), Found::Nothing));
        drop(childs);
        assert!(matches!(owners.read(false).found.unwrap(), Found::Nothing));
    }

    #[test]
    fn a_report_to_nobody_is_no_error() {
        let (owners, childs) = Report::pair().unwrap();
        drop(owners);
        childs.value(&Packed::default()).unwrap();
    }

    #[test]
    fn garbage_is_an_error() {
        for garbage in [&[0xff; 64][..], &[VALUE | IN_FILE], &[7], &[0; 2 * INLINE_BYTES]] {
            let (owners, childs) = Report::pair().unwrap();
            seqpacket::send_bytes(childs.as_fd(), garbage, &[]).unwrap();
            assert!(owners.read(false).found.is_err());
        }
    }
}
