//! The frames of a ring: how long they are, and what their first word says.

use crate::pipe::layout::RING_BYTES;

/// The memory of a ring has been overwritten with what its protocol does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipe) struct Damaged;

pub(super) const WORD: u64 = 8;

pub(super) const CAPACITY: u64 = RING_BYTES as u64;

/// The largest payload of one frame: four frames always fit, so a pause for room is never for the whole ring.
pub(in crate::pipe) const MAX_PAYLOAD: usize = RING_BYTES as usize / 4 - WORD as usize;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::pipe) enum FrameKind {
    /// A message.
    Whole = 1,
    /// The begin of a message, or the next part of one that has begun.
    First = 2,
    Middle = 3,
    /// The end of a message that has begun.
    Last = 4,
    /// As `Whole` and `First`, but descriptors belong to the message: their number precedes it.
    WholeWithFds = 5,
    FirstWithFds = 6,
    /// Nothing, up to the end of the ring.
    Skip = 7,
}

impl FrameKind {
    #[inline(always)]
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            1 => Self::Whole,
            2 => Self::First,
            3 => Self::Middle,
            4 => Self::Last,
            5 => Self::WholeWithFds,
            6 => Self::FirstWithFds,
            7 => Self::Skip,
            _ => return None,
        })
    }
}

/// Room that a frame with `payload` bytes takes.
#[inline(always)]
pub(super) const fn frame_bytes(payload: usize) -> u64 {
    WORD + (payload as u64).next_multiple_of(WORD)
}

#[inline(always)]
pub(super) fn compose(kind: FrameKind, len: usize, position: u64) -> u64 {
    len as u64 | (kind as u64) << 32 | stamp(position) << 40
}

#[inline(always)]
const fn stamp(position: u64) -> u64 {
    (position / WORD) & 0xff_ffff
}

/// Takes a frame word apart; `None` if it cannot stand at `position`.
#[inline(always)]
pub(super) fn decompose(word: u64, position: u64) -> Option<(FrameKind, usize)> {
    let len = word & 0xffff_ffff;
    let kind = FrameKind::from_bits((word >> 32) as u8)?;
    let before_end = CAPACITY - (position & (CAPACITY - 1));
    (word >> 40 == stamp(position) && frame_bytes(len as usize) <= before_end).then_some((kind, len as usize))
}

/// A position that can be counted on from: no pipe lives to see the 62nd bit.
pub(super) fn plausible(position: u64) -> Result<u64, Damaged> {
    if position.is_multiple_of(WORD) && position < 1 << 62 { Ok(position) } else { Err(Damaged) }
}
