//! The words on which everything hangs: a slot's, a block's, and positions in the ring.
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
//!
//! # A block
//! A block's record has two words that are changed together: this one, and the place (the position in the ring, plus 1)
//! at which its message is to be found, 0 for none.
//!
//! | tag | meaning | rest of the word |
//! |---|---|---|
//! | 0 | free | – |
//! | 1 | held by a process, or in the ring since a process put it there | holder 3..52 |
//! | 2 | in the ring, and nobody's otherwise: who put it there has gone | – |
//! | 3 | leased to the taker of an item | holder 3..52, deliveries 52..60 |
//! | 4 | orphan: an item that waits for its next taker | deliveries 52..60 |
//! | 5 | dead letter: an item delivered too often | deliveries 52..60 |
//!
//! A holder is an index into the participants and the participant's number, which no other has.

use kernel::liveness::Participant;

const LAP_MASK: u64 = (1 << 48) - 1;
const OWNER_BITS: u32 = 13;
const OWNER_MASK: u64 = (1 << OWNER_BITS) - 1;
const TAKEN: u64 = 1 << 3;
const LEN_SHIFT: u32 = 4;
const END: u64 = 1 << 9;
const GROWN: u64 = 1 << 10;
const NUMBER_MASK: u64 = (1 << 36) - 1;
const DELIVERIES_SHIFT: u32 = 52;

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
    /// A block's [`to_bits`](BlockId::to_bits): whoever takes the message gets the block.
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

/// Who took the message of a slot that was in a block, and which block.
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

/// An index into the participants; 0 is nobody.
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

/// Indices in sections, each of which is twice as long as the one before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sections {
    /// The first one's length, as a power of 2.
    shift: u32,
}

impl Sections {
    pub(crate) fn new(first_len: u32) -> Self {
        debug_assert!(first_len.is_power_of_two());
        Self { shift: first_len.trailing_zeros() }
    }

    /// The section of an index.
    pub(crate) fn of(self, index: u32) -> u32 {
        ((index >> self.shift) + 1).ilog2()
    }

    /// The first index of a section: as many as there are in all before it.
    pub(crate) fn first(self, section: u32) -> u32 {
        ((1 << section) - 1) << self.shift
    }

    pub(crate) fn len(self, section: u32) -> u32 {
        1 << (self.shift + section)
    }
}

/// How positions count through a ring: `lap << shift | slot`.
///
/// A ring that grows has sections, and a position has the number of its section in the highest bits. A section is gone
/// through lap by lap until it is full; from there on messages are put into the next one. Slots are numbered through all
/// sections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Positions {
    /// How many slots there are in the first section, which is the only one of a ring that does not grow.
    pub(crate) capacity: u32,
    shift: u32,
    /// The bits of a position that say its slot, in the first section.
    slot_mask: u32,
    n_sections: u32,
    /// The bits of a position that say its section: none if there is only one.
    section_mask: u64,
}

const SECTION_SHIFT: u32 = 60;

impl Positions {
    pub(crate) fn new(capacity: u32) -> Self {
        let n_slots = capacity.next_power_of_two();
        let (shift, slot_mask) = (n_slots.trailing_zeros(), n_slots - 1);
        Self { capacity, shift, slot_mask, n_sections: 1, section_mask: 0 }
    }

    /// Those of a ring that grows: `first`, a power of 2, slots, and so many sections.
    pub(crate) fn growing(first: u32, n_sections: u32) -> Self {
        debug_assert!(n_sections <= 1 << (64 - SECTION_SHIFT));
        let section_mask = u64::MAX << SECTION_SHIFT;
        Self { capacity: first, shift: first.trailing_zeros(), slot_mask: first - 1, n_sections, section_mask }
    }

    /// How many slots there are in all sections.
    pub(crate) fn n_slots(&self) -> u32 {
        if self.n_sections == 1 { self.capacity } else { self.sections().first(self.n_sections) }
    }

    /// The slot after the last one of the section that a slot is in.
    pub(crate) fn section_end(&self, slot: u32) -> u32 {
        let (first, len) = self.around(slot);
        first + len
    }

    pub(crate) fn n_sections(&self) -> u32 {
        self.n_sections
    }

    pub(crate) fn sections(&self) -> Sections {
        Sections { shift: self.shift }
    }

    /// The lap and the slot of a position; `None` for one that does not exist.
    #[inline(always)]
    pub(crate) fn split(&self, position: u64) -> Option<(u64, u32)> {
        let Some((lap, slot)) = self.split_near(position) else { return self.split_further(position) };
        (slot < self.capacity).then_some((lap, slot))
    }

    /// The lap and the slot of a position in the first section, where the slot may be beyond the last one; `None` for one
    /// in another section.
    #[inline(always)]
    pub(crate) fn split_near(&self, position: u64) -> Option<(u64, u32)> {
        let is_near = position & self.section_mask == 0;
        is_near.then(|| (position >> self.shift & LAP_MASK, position as u32 & self.slot_mask))
    }

    #[cold]
    #[inline(never)]
    fn split_further(&self, position: u64) -> Option<(u64, u32)> {
        let section = (position >> SECTION_SHIFT) as u32;
        let shift = self.shift + section;
        let inside = (position & ((1 << shift) - 1)) as u32;
        let lap = (position & !self.section_mask) >> shift;
        (section < self.n_sections).then(|| (lap, self.sections().first(section) + inside))
    }

    #[inline(always)]
    pub(crate) fn join(&self, lap: u64, slot: u32) -> u64 {
        if slot < self.capacity { lap << self.shift | u64::from(slot) } else { self.join_further(lap, slot) }
    }

    #[cold]
    #[inline(never)]
    fn join_further(&self, lap: u64, slot: u32) -> u64 {
        let section = self.sections().of(slot);
        let inside = u64::from(slot - self.sections().first(section));
        u64::from(section) << SECTION_SHIFT | (lap << (self.shift + section) | inside) & !self.section_mask
    }

    /// The position after that of `slot` in `lap`, in the same section.
    #[inline(always)]
    pub(crate) fn after(&self, lap: u64, slot: u32) -> u64 {
        if slot + 1 < self.capacity { self.join(lap, slot + 1) } else { self.after_further(lap, slot) }
    }

    #[cold]
    #[inline(never)]
    fn after_further(&self, lap: u64, slot: u32) -> u64 {
        let (first, len) = self.around(slot);
        if slot + 1 < first + len { self.join(lap, slot + 1) } else { self.join(next_lap(lap), first) }
    }

    /// The first slot of the section that a slot is in, and how many there are.
    pub(crate) fn around(&self, slot: u32) -> (u32, u32) {
        if slot < self.capacity {
            return (0, self.capacity);
        }
        let section = self.sections().of(slot);
        (self.sections().first(section), self.sections().len(section))
    }

    /// The position `n` further on in the same section.
    pub(crate) fn advance(&self, position: u64, n: u64) -> Option<u64> {
        let (lap, slot) = self.split(position)?;
        let (first, len) = self.around(slot);
        let slots = u64::from(slot - first).wrapping_add(n);
        let len = u64::from(len);
        Some(self.join(lap.wrapping_add(slots / len) & LAP_MASK, first + (slots % len) as u32))
    }

    /// How many positions there are from one to another of the same section that is not before it; `None` if it is.
    pub(crate) fn distance(&self, from: u64, to: u64) -> Option<u64> {
        let ((from_lap, from_slot), (to_lap, to_slot)) = (self.split(from)?, self.split(to)?);
        let laps = to_lap.wrapping_sub(from_lap) & LAP_MASK;
        // More than half of all laps is a distance backwards.
        let laps = (laps <= LAP_MASK / 2).then_some(laps)?;
        let (first, len) = self.around(from_slot);
        debug_assert!((first..first + len).contains(&to_slot));
        laps.checked_mul(u64::from(len))?.checked_add(u64::from(to_slot))?.checked_sub(u64::from(from_slot))
    }

    /// Where the section begins that comes after the one of a position; `None` after the last.
    pub(crate) fn next_section(&self, position: u64) -> Option<u64> {
        let section = if self.section_mask == 0 { 0 } else { position >> SECTION_SHIFT };
        (section + 1 < u64::from(self.n_sections)).then_some((section + 1) << SECTION_SHIFT)
    }

    /// Whether two positions are in the same section.
    pub(crate) fn are_together(&self, a: u64, b: u64) -> bool {
        (a ^ b) & self.section_mask == 0
    }
}

/// The lap after `lap`.
#[inline(always)]
pub(crate) fn next_lap(lap: u64) -> u64 {
    lap.wrapping_add(1) & LAP_MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_what_was_put_into_them() {
        let word = SlotWord::ready(LAP_MASK, What::short(8));
        assert_eq!((word.lap(), word.kind(), word.short_len()), (LAP_MASK, Some(Kind::Short), 8));
        assert!(!word.is_free() && !word.is_taken());
        assert!(SlotWord::free_taken(3).is_free() && SlotWord::free_taken(3).is_taken());
        assert!(!SlotWord::ready(3, What::short(1)).is_taken() && SlotWord(7).kind().is_none());
        assert_eq!(SlotWord::free(0).laps_ahead_of(LAP_MASK), 1);
        assert_eq!(SlotWord::ready(LAP_MASK, What::NUMBER).laps_ahead_of(0), -1);
        let block = BlockId { class: 1, index: (1 << 30) - 1 };
        let cell = CellAt::from_payload(CellAt::new(block, 504).to_payload());
        assert_eq!((cell.block(), cell.len()), (block, 504));
        let taken = Taken { by: Owner(8191), block: BlockId { class: 2, index: (1 << 30) - 1 } };
        assert_eq!(Taken::from_payload(taken.to_payload()), taken);
        let holder = Holder::numbered(Owner(77), NUMBER_MASK);
        assert_eq!(Holder::from_word(holder.to_word()), holder);
        for state in [
            BlockState::Free,
            BlockState::Held(holder),
            BlockState::InRing,
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
                assert_eq!(ring.advance(0, n), Some(position));
                assert_eq!((ring.distance(0, position), ring.distance(position, 0).is_some()), (Some(n), n == 0));
                position = ring.after(lap, slot);
            }
        }
        assert!(Positions::new(3).split(3).is_none());
    }

    #[test]
    fn a_growing_ring_goes_through_each_section_by_itself() {
        let ring = Positions::growing(2, 3);
        assert_eq!(ring.n_slots(), 2 + 4 + 8);
        let mut begin = 0;
        for (section, first, len) in [(0, 0, 2), (1, 2, 4), (2, 6, 8)] {
            let mut position = begin;
            for n in 0..3 * len {
                let (lap, slot) = ring.split(position).unwrap();
                assert_eq!((lap, u64::from(slot)), (n / len, first + n % len));
                assert_eq!((ring.join(lap, slot), ring.sections().of(slot)), (position, section));
                assert_eq!((ring.advance(begin, n), ring.distance(begin, position)), (Some(position), Some(n)));
                assert!(ring.are_together(begin, position));
                position = ring.after(lap, slot);
            }
            let next = ring.next_section(position);
            assert_eq!(next.is_some(), section < 2);
            let Some(next) = next else { break };
            assert!(!ring.are_together(begin, next) && next > position);
            begin = next;
        }
        assert!(ring.split(3 << SECTION_SHIFT).is_none() && Positions::new(2).next_section(u64::MAX).is_none());
    }
}
