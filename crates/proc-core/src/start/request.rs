//! What an owner tells a process that is to run a function: one message over a `SOCK_SEQPACKET` socket.
//!
//! A message is one packet, frame and body, with up to 253 descriptors; more descriptors follow in packets of a frame
//! alone. A body over [`INLINE_BYTES`] travels as a memory file, the first descriptor.

use std::{
    io::IoSlice,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use nix::errno::Errno;

use crate::{current::ProcessIdentity, function::Function, options::Options, start::plain::plain};
use kernel::sys::{
    memfd,
    seqpacket::{self, MAX_FDS},
};

/// What is to be run, and as whom. The function's packed arguments follow it, and an [`Option<Inherited>`](super::conditions)
/// comes before it. Of the descriptors the first belong to that one; then come the standard streams that `options` names,
/// and what the arguments hand over.
#[derive(Debug)]
pub(crate) struct Request {
    /// The build that the owner runs; a function's place means nothing in another.
    pub(crate) fingerprint: u64,
    pub(crate) function: Function,
    pub(crate) identity: ProcessIdentity,
    pub(crate) options: Options,
}
plain!(Request { fingerprint, function, identity, options });

pub(crate) const INLINE_BYTES: usize = 48 * 1024;
const FRAME_BYTES: usize = 12;
const MAGIC: u32 = u32::from_le_bytes(*b"pcR1");
const BODY_IN_FILE: u32 = 1;
const CONTINUATION: u32 = 2;

/// Sends the parts of a body and `fds` as one message.
pub(crate) fn send(socket: BorrowedFd<'_>, body: &[&[u8]], fds: &[RawFd]) -> nix::Result<()> {
    let len: usize = body.iter().map(|part| part.len()).sum();
    if len <= INLINE_BYTES {
        return send_frames(socket, body, fds, 0);
    }
    let file = memfd::holding("proc-core-request", body)
        .map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))?;
    let fds: Vec<RawFd> = [file.as_raw_fd()].into_iter().chain(fds.iter().copied()).collect();
    send_frames(socket, &[], &fds, BODY_IN_FILE)
}

fn send_frames(socket: BorrowedFd<'_>, body: &[&[u8]], fds: &[RawFd], flags: u32) -> nix::Result<()> {
    let (first, rest) = fds.split_at(fds.len().min(MAX_FDS));
    let n_fds = u32::try_from(fds.len()).map_err(|_| Errno::E2BIG)?;
    let frame = |flags: u32| [MAGIC, flags, n_fds].map(u32::to_ne_bytes).concat();
    let head = frame(flags);
    let parts: Vec<_> = [&head[..]].iter().chain(body).map(|part| IoSlice::new(part)).collect();
    seqpacket::send(socket, &parts, first)?;
    let head = frame(CONTINUATION);
    rest.chunks(MAX_FDS).try_for_each(|chunk| seqpacket::send_bytes(socket, &head, chunk))
}

/// Receives messages, with buffers that are used again.
#[derive(Debug)]
pub(crate) struct Receiver {
    packet: Vec<u8>,
    large: Vec<u8>,
}

impl Receiver {
    pub(crate) fn new() -> Self {
        let packet = vec![0; FRAME_BYTES + INLINE_BYTES];
        Self { packet, large: Vec::new() }
    }

    /// The next message; `None` once the sender is gone. `EBADMSG` for what is not a message of ours, `EMSGSIZE` for
    /// one whose descriptors did not fit into this process's table; it is lost, the next one may fit.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> nix::Result<Option<(&[u8], Vec<OwnedFd>)>> {
        let mut fds = Vec::new();
        let (len, flags, n_fds) = loop {
            let len = seqpacket::receive(socket, &mut self.packet, &mut fds)?;
            if len == 0 {
                return Ok(None);
            }
            match parse_frame(&self.packet[..len])? {
                // The rest of a message whose beginning was lost.
                (CONTINUATION, _) => fds.clear(),
                (flags, n_fds) => break (len, flags, n_fds),
            }
        };
        let mut frame = [0; FRAME_BYTES];
        while fds.len() < n_fds {
            let before = fds.len();
            let len = match seqpacket::receive(socket, &mut frame, &mut fds) {
                // Idle, but in the middle of a message.
                Err(Errno::EAGAIN) => continue,
                len => len?,
            };
            if parse_frame(&frame[..len])? != (CONTINUATION, n_fds) || fds.len() == before {
                return Err(Errno::EBADMSG);
            }
        }
        if fds.len() != n_fds {
            return Err(Errno::EBADMSG);
        }
        if flags != BODY_IN_FILE {
            return Ok(Some((&self.packet[FRAME_BYTES..len], fds)));
        }
        if fds.is_empty() {
            return Err(Errno::EBADMSG);
        }
        self.large = memfd::read_whole(fds.remove(0)).map_err(|_| Errno::EBADMSG)?;
        Ok(Some((&self.large, fds)))
    }
}

fn parse_frame(packet: &[u8]) -> nix::Result<(u32, usize)> {
    let (frame, _) = packet.split_first_chunk::<FRAME_BYTES>().ok_or(Errno::EBADMSG)?;
    let word = |i: usize| u32::from_ne_bytes([frame[i], frame[i + 1], frame[i + 2], frame[i + 3]]);
    if word(0) != MAGIC || word(4) > CONTINUATION {
        return Err(Errno::EBADMSG);
    }
    Ok((word(4), word(8) as usize))
}
