//! What the handler sends: two packets of plain bytes over the report's socket.
//!
//! The first says what happened, the second where. A handler that does not survive the walk over a broken stack has sent
//! the first one by then.

use serde::{Deserialize, Serialize};

/// The first byte of the first packet.
pub(crate) const HAPPENED: u8 = 3;
/// The first byte of the second one.
pub(crate) const WHERE: u8 = 4;

/// Bytes of the first packet, without the text of a panic that follows.
pub(super) const HAPPENED_BYTES: usize = 1 + 7 * 4 + 8 + NAME_BYTES;
pub(super) const NAME_BYTES: usize = 16;
/// Bytes of that text at most.
pub(super) const PANIC_BYTES: usize = 512;
/// Addresses in the second packet.
pub(super) const MAX_FRAMES: usize = 128;
/// Bytes of what it says of the mapped files: the rest of the packet.
pub(super) const MAPS_BYTES: usize = 24 * 1024;
/// Bytes of its head: kind, flags, number of addresses.
pub(super) const HEAD_BYTES: usize = 4;
/// No packet is longer.
pub(crate) const MAX_BYTES: usize = HEAD_BYTES + 8 * MAX_FRAMES + MAPS_BYTES;

/// The stack was used up.
pub(super) const OVERFLOW: u8 = 1;
/// The frames lead through `handle_alloc_error`.
pub(super) const NO_MEMORY: u8 = 2;

/// What the first packet says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Happened {
    pub(super) signal: i32,
    pub(super) code: i32,
    /// The process that sent the signal, if the code says that it was sent.
    pub(super) sender: i32,
    pub(super) pid: i32,
    pub(super) tid: i32,
    /// The system call that was refused, and the architecture of its number, if the signal says that.
    pub(super) call: i32,
    pub(super) architecture: u32,
    pub(super) address: u64,
    /// Of the thread, padded with zeros.
    pub(super) name: [u8; NAME_BYTES],
}

impl Happened {
    pub(super) fn to_bytes(self) -> [u8; HAPPENED_BYTES] {
        let mut bytes = [0; HAPPENED_BYTES];
        bytes[0] = HAPPENED;
        let architecture = self.architecture.cast_signed();
        let words = [self.signal, self.code, self.sender, self.pid, self.tid, self.call, architecture];
        for (place, word) in bytes[1..29].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes[29..37].copy_from_slice(&self.address.to_ne_bytes());
        bytes[37..].copy_from_slice(&self.name);
        bytes
    }

    /// From the packet; what is left is the text of a panic.
    pub(super) fn parse(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (kind, rest) = bytes.split_first()?;
        let (words, rest) = rest.split_first_chunk::<28>()?;
        let (address, rest) = rest.split_first_chunk::<8>()?;
        let (name, panic) = rest.split_first_chunk::<NAME_BYTES>()?;
        let word = |i: usize| i32::from_ne_bytes([words[i], words[i + 1], words[i + 2], words[i + 3]]);
        let happened = Self {
            signal: word(0),
            code: word(4),
            sender: word(8),
            pid: word(12),
            tid: word(16),
            call: word(20),
            architecture: word(24).cast_unsigned(),
            address: u64::from_ne_bytes(*address),
            name: *name,
        };
        (*kind == HAPPENED).then_some((happened, panic))
    }
}

/// What the second packet says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Where<'a> {
    pub(super) flags: u8,
    pub(super) addresses: Vec<u64>,
    /// Lines of `/proc/PID/maps`, those of code.
    pub(super) maps: &'a [u8],
}

impl<'a> Where<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let ([kind, flags, low, high], rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let n_addresses = usize::from(u16::from_ne_bytes([*low, *high]));
        let (addresses, maps) = rest.split_at_checked(n_addresses * 8)?;
        let (addresses, _) = addresses.as_chunks();
        let addresses = addresses.iter().map(|address| u64::from_ne_bytes(*address)).collect();
        (*kind == WHERE).then_some(Self { flags: *flags, addresses, maps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_read() {
        let name = *b"a thread's name\0";
        let sent = Happened {
            signal: 11,
            code: 1,
            sender: -3,
            pid: 7,
            tid: 8,
            call: 9,
            architecture: 10,
            address: u64::MAX,
            name,
        };
        let bytes = [&sent.to_bytes()[..], b"panicked"].concat();
        assert_eq!(Happened::parse(&bytes), Some((sent, &b"panicked"[..])));
        let bytes = [&[WHERE, OVERFLOW][..], &2_u16.to_ne_bytes(), &7_u64.to_ne_bytes(), &9_u64.to_ne_bytes(), b"maps"];
        let at = Where { flags: OVERFLOW, addresses: vec![7, 9], maps: b"maps" };
        assert_eq!(Where::parse(&bytes.concat()), Some(at));
    }

    /// Another process wrote it.
    #[test]
    fn garbage_is_no_report() {
        for len in 0..80 {
            for byte in [0, HAPPENED, WHERE, 0xff] {
                let mut bytes = vec![0xff; len];
                bytes.iter_mut().take(1).for_each(|kind| *kind = byte);
                let happened = Happened::parse(&bytes);
                assert_eq!(happened.is_some(), byte == HAPPENED && len >= HAPPENED_BYTES, "{len} {byte}");
                // It says that 65,535 addresses follow.
                assert_eq!(Where::parse(&bytes), None, "{len} {byte}");
            }
        }
    }
}
