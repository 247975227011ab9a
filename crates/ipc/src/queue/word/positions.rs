//! Positions in the ring, and the sections of what grows.

pub(super) const LAP_MASK: u64 = (1 << 48) - 1;
pub(super) const SECTION_SHIFT: u32 = 60;

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
