//! The two words on which everything hangs: a slot's and a block's, and positions in the ring.
//!
//! # A slot's word
//! | bits | meaning |
//! |---|---|
//! | 0..3 | phase |
//! | 3..16 | owner: an index into the participants table, 0 for nobody; while ready: 1 if the message is a number |
//! | 16..64 | lap, modulo 2^48 |
//!
//! # A block's word
//! | tag | meaning | rest of the word |
//! |---|---|---|
//! | 0 | free | – |
//! | 1 | held: private to its owner | owner 3..16, signature 24..64 |
//! | 2 | attached to a slot's message | slot 3..29, low half of the lap 29..61 |
//! | 3 | leased to the taker of an item | owner 3..16, deliveries 16..24, signature 24..64 |
//! | 4 | orphan: an item that waits for its next taker | deliveries 16..24 |
//! | 5 | dead letter: an item delivered too often | deliveries 16..24 |
//!
//! An owner's signature (pid and low bits of its start time) keeps two bearers of one index apart.

use proc_core::identity::ProcessId;

const LAP_MASK: u64 = (1 << 48) - 1;
const OWNER_MASK: u64 = (1 << 13) - 1;
const NUMBER: u64 = 1 << 3;
const SIGNATURE_SHIFT: u32 = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Free,
    Writing,
    Ready,
    Reading,
    /// Bits that no process of ours ever writes.
    Invalid,
}

/// What a slot is, for which lap, in whose hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotWord(pub(crate) u64);

impl SlotWord {
    pub(crate) fn free(lap: u64) -> Self {
        Self(lap << 16)
    }

    pub(crate) fn writing(lap: u64, owner: Owner) -> Self {
        Self(lap << 16 | u64::from(owner.0) << 3 | 1)
    }

    pub(crate) fn ready(lap: u64) -> Self {
        Self(lap << 16 | 2)
    }

    /// Ready, with a message that is the word beside this one.
    pub(crate) fn ready_number(lap: u64) -> Self {
        Self(lap << 16 | NUMBER | 2)
    }

    /// Whether it is ready for that lap, whatever the message.
    pub(crate) fn is_ready(self, lap: u64) -> bool {
        self.0 & !NUMBER == lap << 16 | 2
    }

    pub(crate) fn is_number(self) -> bool {
        self.0 & NUMBER != 0
    }

    pub(crate) fn reading(lap: u64, owner: Owner) -> Self {
        Self(lap << 16 | u64::from(owner.0) << 3 | 3)
    }

    pub(crate) fn phase(self) -> Phase {
        match self.0 & 7 {
            0 => Phase::Free,
            1 => Phase::Writing,
            2 => Phase::Ready,
            3 => Phase::Reading,
            _ => Phase::Invalid,
        }
    }

    pub(crate) fn owner(self) -> Owner {
        Owner((self.0 >> 3 & OWNER_MASK) as u16)
    }

    pub(crate) fn lap(self) -> u64 {
        self.0 >> 16
    }

    /// How many laps this word is ahead of `lap`; negative when behind.
    pub(crate) fn laps_ahead_of(self, lap: u64) -> i64 {
        (self.lap().wrapping_sub(lap) << 16).cast_signed() >> 16
    }
}

/// An index into the participants table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(pub(crate) u16);

/// A participant as blocks name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) owner: Owner,
    pub(crate) signature: u64,
}

impl Holder {
    pub(crate) fn new(owner: Owner, process: ProcessId) -> Self {
        Self { owner, signature: (u64::from(process.pid) << 18 | process.start_time & 0x3_FFFF) & ((1 << 40) - 1) }
    }

    fn bits(self) -> u64 {
        self.signature << SIGNATURE_SHIFT | u64::from(self.owner.0) << 3
    }

    fn of(bits: u64) -> Self {
        Self { owner: Owner((bits >> 3 & OWNER_MASK) as u16), signature: bits >> SIGNATURE_SHIFT }
    }
}

/// Whose a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockState {
    Free,
    Held(Holder),
    Attached { slot: u32, lap: u32 },
    Leased { to: Holder, deliveries: u8 },
    Orphan { deliveries: u8 },
    DeadLetter { deliveries: u8 },
    Invalid,
}

impl BlockState {
    pub(crate) fn attached(slot: u32, lap: u64) -> Self {
        Self::Attached { slot, lap: lap as u32 }
    }

    pub(crate) fn to_word(self) -> u64 {
        match self {
            Self::Free => 0,
            Self::Held(holder) => holder.bits() | 1,
            Self::Attached { slot, lap } => u64::from(lap) << 29 | u64::from(slot) << 3 | 2,
            Self::Leased { to, deliveries } => to.bits() | u64::from(deliveries) << 16 | 3,
            Self::Orphan { deliveries } => u64::from(deliveries) << 16 | 4,
            Self::DeadLetter { deliveries } => u64::from(deliveries) << 16 | 5,
            Self::Invalid => 7,
        }
    }

    pub(crate) fn from_word(word: u64) -> Self {
        let deliveries = (word >> 16) as u8;
        match word & 7 {
            0 => Self::Free,
            1 => Self::Held(Holder::of(word)),
            2 => Self::Attached { slot: (word >> 3) as u32 & ((1 << 26) - 1), lap: (word >> 29) as u32 },
            3 => Self::Leased { to: Holder::of(word), deliveries },
            4 => Self::Orphan { deliveries },
            5 => Self::DeadLetter { deliveries },
            _ => Self::Invalid,
        }
    }
}

/// How positions, `lap << shift | slot`, count through a ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Positions {
    pub(crate) capacity: u32,
    shift: u32,
}

impl Positions {
    pub(crate) fn new(capacity: u32) -> Self {
        Self { capacity, shift: capacity.next_power_of_two().trailing_zeros() }
    }

    /// The lap and the slot of a position; `None` for one that does not exist.
    #[inline]
    pub(crate) fn split(self, position: u64) -> Option<(u64, u32)> {
        let slot = (position & ((1 << self.shift) - 1)) as u32;
        (slot < self.capacity).then_some((position >> self.shift & LAP_MASK, slot))
    }

    pub(crate) fn join(self, lap: u64, slot: u32) -> u64 {
        lap << self.shift | u64::from(slot)
    }

    /// The position after that of `slot` in `lap`.
    #[inline]
    pub(crate) fn after(self, lap: u64, slot: u32) -> u64 {
        if slot + 1 < self.capacity { self.join(lap, slot + 1) } else { self.join(lap.wrapping_add(1) & LAP_MASK, 0) }
    }
}

/// The lap after `lap`.
pub(crate) fn next_lap(lap: u64) -> u64 {
    lap.wrapping_add(1) & LAP_MASK
}

/// The lap before `lap`.
pub(crate) fn previous_lap(lap: u64) -> u64 {
    lap.wrapping_sub(1) & LAP_MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_what_was_put_into_them() {
        let word = SlotWord::writing(LAP_MASK, Owner(8191));
        assert_eq!((word.lap(), word.owner(), word.phase()), (LAP_MASK, Owner(8191), Phase::Writing));
        assert_eq!(SlotWord::free(0).laps_ahead_of(LAP_MASK), 1);
        assert_eq!(SlotWord::ready(LAP_MASK).laps_ahead_of(0), -1);
        let holder = Holder::new(Owner(77), ProcessId { pid: 4_194_303, start_time: u64::MAX });
        for state in [
            BlockState::Free,
            BlockState::Held(holder),
            BlockState::attached((1 << 26) - 1, u64::MAX),
            BlockState::Leased { to: holder, deliveries: 255 },
            BlockState::Orphan { deliveries: 3 },
            BlockState::DeadLetter { deliveries: 1 },
        ] {
            assert_eq!(BlockState::from_word(state.to_word()), state);
        }
    }

    #[test]
    fn positions_visit_every_slot_of_every_lap() {
        for capacity in [1, 2, 3, 5, 8] {
            let ring = Positions::new(capacity);
            let mut position = 0;
            for n in 0..4 * u64::from(capacity) {
                let (lap, slot) = ring.split(position).unwrap();
                assert_eq!((lap, u64::from(slot)), (n / u64::from(capacity), n % u64::from(capacity)));
                position = ring.after(lap, slot);
            }
        }
        assert!(Positions::new(3).split(3).is_none());
    }
}
