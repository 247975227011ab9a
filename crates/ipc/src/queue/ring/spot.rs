//! The two sides of a queue; a slot that was looked at, and what its word says to either side.

use super::super::word::SlotWord;

/// Which side of the queue waits, for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// A getter, for messages.
    Items,
    /// A putter, for room.
    Space,
}

/// A slot at a position of the ring, and what its word was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) position: u64,
    pub(crate) lap: u64,
    pub(crate) slot: u32,
    pub(crate) word: SlotWord,
}

impl Spot {
    /// Whether the position has been passed by that side: put, for putters; taken, for getters.
    #[inline(always)]
    pub(super) fn is_passed(&self, side: Side) -> bool {
        match self.word.laps_ahead_of(self.lap) {
            0 => side == Side::Space && !self.word.is_free(),
            ahead => ahead > 0,
        }
    }

    /// Whether that side, which has not passed the position, never will: it goes on in the next section.
    #[inline(always)]
    pub(super) fn leads_on(&self, side: Side) -> bool {
        self.word.is_grown() && (side == Side::Space || self.is_open())
    }

    /// Whether a message is there to be taken.
    #[inline(always)]
    pub(crate) fn is_ready(&self) -> bool {
        self.word.laps_ahead_of(self.lap) == 0 && !self.word.is_free()
    }

    /// Whether a message can be put there, unless the ring is closed.
    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        self.word.laps_ahead_of(self.lap) == 0 && self.word.is_free()
    }
}

/// A message that is the next, and can be taken by its word alone.
#[derive(Clone, Copy)]
pub(crate) struct Peeked<At> {
    pub(crate) at: At,
    pub(super) ready: SlotWord,
    pub(crate) payload: u64,
    pub(super) lap: u64,
    pub(super) slot: u32,
}
