//! The words of the protocol: a slot's (here), a block's (`block.rs`), and positions in the ring (`positions.rs`).
//!
//! # A slot
//! A slot is two words that are changed together: this one, and the payload beside it.
//!
//! | bits | meaning |
//! |---|---|
//! | 0..3 | free, or what kind of message there is: see [`Kind`] |
//! | 3 | while free: its last message was in a block, and the payload is the [`Taken`] that says whose the block is now |
//! | 4..8 | how many bytes of a short message there are |
//! | 9 | the end: no message will ever be put here; while ready: none after this one |
//! | 10 | the ring has grown: no message will ever be put here, and the next one is in the next section |
//! | 16..64 | lap, modulo 2^48 |

mod block;
mod positions;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    block::{BlockId, BlockState, CellAt, Holder, Owner, Taken},
    positions::{Positions, Sections, next_lap},
};

const TAKEN: u64 = 1 << 3;
const LEN_SHIFT: u32 = 4;
const END: u64 = 1 << 9;
const GROWN: u64 = 1 << 10;

/// What a slot's payload is while the slot is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Kind {
    /// The message, which is a number.
    Number = 1,
    /// The message: so many bytes.
    Short = 2,
    /// A [`CellAt`]: the message is copied before it is taken, and its block stays its putter's.
    Cell = 3,
    /// A block's [`to_bits`](BlockId::to_bits): the taker of the message gets the block.
    Block = 4,
}

/// What a slot is, for which lap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotWord(pub(crate) u64);

impl SlotWord {
    #[inline(always)]
    pub(crate) fn free(lap: u64) -> Self {
        Self(lap << 16)
    }

    /// Free, after a message that was in a block.
    pub(crate) fn free_taken(lap: u64) -> Self {
        Self(lap << 16 | TAKEN)
    }

    #[inline(always)]
    pub(crate) fn ready(lap: u64, what: What) -> Self {
        Self(lap << 16 | what.0)
    }

    #[inline(always)]
    pub(crate) fn is_free(self) -> bool {
        self.0 & 7 == 0
    }

    /// Whether its last message was in a block.
    #[inline(always)]
    pub(crate) fn is_taken(self) -> bool {
        self.0 & (TAKEN | 7) == TAKEN
    }

    /// What kind of message there is; `None` if there is none, or for bits that no process of ours ever writes.
    #[inline(always)]
    pub(crate) fn kind(self) -> Option<Kind> {
        match self.0 & 7 {
            1 => Some(Kind::Number),
            2 => Some(Kind::Short),
            3 => Some(Kind::Cell),
            4 => Some(Kind::Block),
            _ => None,
        }
    }

    /// The length of a short message.
    #[inline(always)]
    pub(crate) fn short_len(self) -> usize {
        (self.0 >> LEN_SHIFT & 15) as usize
    }

    /// Whether the ring was closed when this word was the first that no putter had passed.
    #[inline(always)]
    pub(crate) fn is_end(self) -> bool {
        self.0 & END != 0
    }

    pub(crate) fn ended(self) -> Self {
        Self(self.0 | END)
    }

    /// Whether the ring had grown when this word was the first that no putter had passed.
    #[inline(always)]
    pub(crate) fn is_grown(self) -> bool {
        self.0 & GROWN != 0
    }

    pub(crate) fn grown(self) -> Self {
        Self(self.0 | GROWN)
    }

    /// What `free`, the word after this one, is where the ring has been closed, or has grown.
    #[inline(always)]
    pub(crate) fn after(self, free: Self) -> Self {
        Self(free.0 | self.0 & (END | GROWN))
    }

    pub(crate) fn lap(self) -> u64 {
        self.0 >> 16
    }

    /// How many laps this word is ahead of `lap`; negative when behind.
    #[inline(always)]
    pub(crate) fn laps_ahead_of(self, lap: u64) -> i64 {
        (self.lap().wrapping_sub(lap) << 16).cast_signed() >> 16
    }
}

/// What the word of a ready slot says beside its lap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct What(u64);

impl What {
    pub(crate) const NUMBER: Self = Self(Kind::Number as u64);
    pub(crate) const CELL: Self = Self(Kind::Cell as u64);
    pub(crate) const BLOCK: Self = Self(Kind::Block as u64);

    /// A message of up to 8 bytes.
    #[inline(always)]
    pub(crate) fn short(len: usize) -> Self {
        Self(Kind::Short as u64 | (len as u64) << LEN_SHIFT)
    }
}
