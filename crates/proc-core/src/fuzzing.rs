//! What a fuzzer needs of the crate's insides: the decoders of what comes through its own sockets.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{MsgFlags, send};

use crate::{
    report::Report,
    start::{plain::Plain, request},
};
use kernel::sys::seqpacket;

/// Packets of the lengths that the bytes' own first ones say.
fn packets(bytes: &[u8]) -> OwnedFd {
    let (ours, theirs) = seqpacket::pair().expect("sockets are free");
    let mut rest = bytes;
    while let Some((len, after)) = rest.split_first_chunk::<2>() {
        let (packet, after) = after.split_at(usize::from(u16::from_le_bytes(*len)).min(after.len()));
        // A full socket is enough.
        if send(ours.as_raw_fd(), packet, MsgFlags::MSG_DONTWAIT).is_err() {
            break;
        }
        rest = after;
    }
    theirs
}

/// Receives and decodes requests to start a process.
pub fn request(bytes: &[u8]) {
    let socket = packets(bytes);
    let mut receiver = request::Receiver::new();
    for _ in 0..8 {
        match receiver.receive(socket.as_fd()) {
            Ok(None) => break,
            Ok(Some((body, _fds))) => {
                let _ = request::Request::take(&mut { body });
            }
            Err(_) => {}
        }
    }
}

/// Reads a child's report.
pub fn report(bytes: &[u8]) {
    for was_killed in [false, true] {
        let _ = Report::from(packets(bytes)).read(was_killed);
    }
}
