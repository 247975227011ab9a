//! A block's word, and what stands for blocks and their holders in payloads.
//!
//! A block's record has two words that are changed together: this one, and the place (the position in the ring, plus 1)
//! at which its message is to be found, 0 for none.
//!
//! | tag | meaning | rest of the word |
//! |---|---|---|
//! | 0 | free | – |
//! | 1 | held by a process, or in the ring since a process put it there | holder 3..52 |
//! | 2 | in the ring, with no other owner: its putter has gone | – |
//! | 3 | leased to the taker of an item | holder 3..52, deliveries 52..60 |
//! | 4 | orphan: an item that waits for its next taker | deliveries 52..60 |
//! | 5 | dead letter: an item delivered too often | deliveries 52..60 |
//!
//! A holder is an index into the participants and the participant's number, which no other has.

use kernel::liveness::Participant;

const OWNER_BITS: u32 = 13;
const OWNER_MASK: u64 = (1 << OWNER_BITS) - 1;
pub(super) const NUMBER_MASK: u64 = (1 << 36) - 1;
const DELIVERIES_SHIFT: u32 = 52;

/// A block: its class and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockId {
    pub(crate) class: u8,
    pub(crate) index: u32,
}

impl BlockId {
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.index) << 2 | u64::from(self.class)
    }

    /// The block of such bits, whether or not there is one.
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self { class: (bits & 3) as u8, index: (bits >> 2) as u32 }
    }
}

/// Where a message lies that is to be copied: a block that stays its putter's, and a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CellAt(u64);

impl CellAt {
    #[inline(always)]
    pub(crate) fn new(block: BlockId, len: usize) -> Self {
        Self((len as u64) << 32 | block.to_bits())
    }

    #[inline(always)]
    pub(crate) fn to_payload(self) -> u64 {
        self.0
    }

    #[inline(always)]
    pub(crate) fn from_payload(payload: u64) -> Self {
        Self(payload)
    }

    #[inline(always)]
    pub(crate) fn block(self) -> BlockId {
        BlockId::from_bits(self.0 & u64::from(u32::MAX))
    }

    #[inline(always)]
    pub(crate) fn len(self) -> usize {
        (self.0 >> 32) as usize
    }
}

/// The taker of the message in a slot that lay in a block, and which block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) by: Owner,
    pub(crate) block: BlockId,
}

impl Taken {
    pub(crate) fn to_payload(self) -> u64 {
        self.block.to_bits() << OWNER_BITS | u64::from(self.by.0)
    }

    pub(crate) fn from_payload(payload: u64) -> Self {
        Self { by: Owner((payload & OWNER_MASK) as u16), block: BlockId::from_bits(payload >> OWNER_BITS) }
    }
}

/// An index into the participants; 0 means none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(pub(crate) u16);

/// A participant as blocks name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) owner: Owner,
    number: u64,
}

impl Holder {
    pub(crate) fn new(owner: Owner, participant: Participant) -> Self {
        Self { owner, number: participant.number() & NUMBER_MASK }
    }

    #[cfg(any(test, loom))]
    pub(crate) fn numbered(owner: Owner, number: u64) -> Self {
        Self { owner, number }
    }

    /// As one word, for [`from_word`](Self::from_word).
    pub(crate) fn to_word(self) -> u64 {
        (self.number << OWNER_BITS | u64::from(self.owner.0)) << 3
    }

    pub(crate) fn from_word(word: u64) -> Self {
        let bits = word >> 3;
        Self { owner: Owner((bits & OWNER_MASK) as u16), number: bits >> OWNER_BITS & NUMBER_MASK }
    }
}

/// Whose a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockState {
    Free,
    Held(Holder),
    InRing,
    Leased {
        to: Holder,
        deliveries: u8,
    },
    Orphan {
        deliveries: u8,
    },
    DeadLetter {
        deliveries: u8,
    },
    /// Bits that no process of ours ever writes.
    Invalid,
}

impl BlockState {
    pub(crate) fn to_word(self) -> u64 {
        let times = |deliveries: u8| u64::from(deliveries) << DELIVERIES_SHIFT;
        match self {
            Self::Free => 0,
            Self::Held(holder) => holder.to_word() | 1,
            Self::InRing => 2,
            Self::Leased { to, deliveries } => to.to_word() | times(deliveries) | 3,
            Self::Orphan { deliveries } => times(deliveries) | 4,
            Self::DeadLetter { deliveries } => times(deliveries) | 5,
            Self::Invalid => 7,
        }
    }

    pub(crate) fn from_word(word: u64) -> Self {
        let deliveries = (word >> DELIVERIES_SHIFT) as u8;
        match word & 7 {
            0 => Self::Free,
            1 => Self::Held(Holder::from_word(word)),
            2 => Self::InRing,
            3 => Self::Leased { to: Holder::from_word(word), deliveries },
            4 => Self::Orphan { deliveries },
            5 => Self::DeadLetter { deliveries },
            _ => Self::Invalid,
        }
    }
}
