//! What lies where in a queue's memory file. Everything here is read by processes that do not trust each other.
//!
//! ```text
//! header | participants | records of 4 classes | slots || more records | more slots || blocks: fitted | small | medium | large
//! `--------------- control: always mapped ------------------' `------------------ mapped when used ---------------------'
//! ```
//!
//! There are more records and more slots in a queue that grows; they are mapped section by section.

use std::sync::atomic::{AtomicU32, AtomicU64};

use kernel::{liveness::RegisterWords, shm::ShmSafe};

use super::word::{BlockId, Positions, Sections};
use crate::sys::double_word::DoubleWord;

/// Room for the header. No part of the layout depends on how long a page is.
pub(crate) const HEADER_BYTES: usize = 4096;
/// Each part that is mapped by itself begins at a multiple of this, the largest page size there is.
const PART: usize = 64 * 1024;
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"ipcQueue");
pub(crate) const VERSION: u32 = 4;

/// How many processes (handles that did not come from `clone`, to be exact) can use a queue at a time.
pub(crate) const PARTICIPANTS: usize = 1024;
/// The longest message that stays with its putter until it has been taken, see `cells.rs`.
pub(crate) const CELL_MAX: usize = 512;
/// The largest block made to measure.
pub(crate) const FITTED_MAX: usize = 4096 + 256;
pub(crate) const MAX_CAPACITY: usize = 1 << 24;
/// Beside a capacity, a power of 2: only that of the first section of a queue that grows.
pub(crate) const GROWS: u64 = 1 << 63;
/// How many slots the first section of a queue has that grows, at most and unless said.
pub(crate) const FIRST_SECTION: u32 = 1 << 16;
/// How many sections it has; blocks, one for each slot, have numbers of 30 bits.
pub(crate) const SECTIONS: usize = 13;
pub(crate) const DEFAULT_MAX_MESSAGE: usize = (1 << 30) + 4096;
const MAX_MAX_MESSAGE: usize = 1 << 38;
/// How many records of a class, how many slots get memory at a time.
pub(crate) const RECORDS_STEP: u32 = 128;
pub(crate) const SLOTS_STEP: u32 = (64 * 1024 / size_of::<Slot>()) as u32;
pub(crate) const CLASSES: usize = 4;

/// A value alone on its cache lines (two: the prefetcher takes them in pairs).
#[repr(C, align(128))]
pub(crate) struct Line<T>(pub(crate) T);

impl<T> std::ops::Deref for Line<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// At the start of the file.
#[repr(C)]
pub(crate) struct Header {
    pub(crate) magic: AtomicU64,
    pub(crate) version: AtomicU32,
    /// 1 for a queue that leases its items.
    pub(crate) leases: AtomicU32,
    /// How many messages fit in, or into the first section: [`Geometry::capacity`].
    pub(crate) capacity: AtomicU64,
    /// How long the blocks of the first class are, in bytes.
    pub(crate) fitted: AtomicU64,
    pub(crate) max_message: AtomicU64,
    /// After how many deliveries an item becomes a dead letter.
    pub(crate) max_deliveries: AtomicU32,
    pub(crate) register: RegisterWords,
    /// Hints: at most the first position where nothing has been put, from where nothing has been taken.
    pub(crate) tail: Line<AtomicU64>,
    pub(crate) head: Line<AtomicU64>,
    /// Event counts, see `events.rs`: something was put, a slot became free, an item was done.
    pub(crate) items: Line<AtomicU32>,
    pub(crate) space: Line<AtomicU32>,
    pub(crate) done: Line<AtomicU32>,
    /// Hint: 1 if there may be orphans.
    pub(crate) orphans: Line<AtomicU32>,
    /// Hint: 1 if there may be blocks in the ring whose putters have gone.
    pub(crate) unattended: Line<AtomicU32>,
    /// The last look for dead participants, on the monotonic clock in milliseconds: for leases, for everything.
    pub(crate) last_look: Line<AtomicU64>,
    pub(crate) last_sweep: Line<AtomicU64>,
    /// How many slots have memory.
    pub(crate) reserved_slots: Line<AtomicU32>,
    pub(crate) pools: [Line<Pool>; CLASSES],
    /// How many messages with handles have been on their way here.
    pub(crate) n_tickets: Line<AtomicU32>,
}

/// The shared side of a class of blocks.
#[repr(C)]
pub(crate) struct Pool {
    /// How many records have memory; no block from there on was ever used.
    pub(crate) high: AtomicU32,
    /// Hint: the block after the one that was taken last.
    pub(crate) free: AtomicU32,
}

// SAFETY: (of the next three) `repr(C)` of atomics, valid for any bits.
#[allow(unsafe_code)]
unsafe impl ShmSafe for Header {}

const _: () = assert!(size_of::<Header>() <= HEADER_BYTES && align_of::<Header>() == 128);
const _: () = assert!(std::mem::offset_of!(Header, tail) == 128 && std::mem::offset_of!(Header, pools) == 128 * 11);

/// A slot: its `SlotWord` and its payload.
pub(crate) type Slot = DoubleWord;

/// What is known of a block.
#[repr(C)]
pub(crate) struct Record {
    /// A `BlockState`, and the place of the ring (the position, plus 1) at which the block is, or may be; 0 for none.
    pub(crate) state: DoubleWord,
    /// How many bytes of the message there are, and [`HAS_HANDLES`]; the holder's.
    pub(crate) len: AtomicU64,
    /// How many bytes of the block have memory; the holder's.
    pub(crate) reserved: AtomicU64,
}

/// Beside a length: a ticket precedes the message.
pub(crate) const HAS_HANDLES: u64 = 1 << 63;

const _: () = assert!(size_of::<Record>() == 32);

/// The shape of a queue: each process computes it for itself from three numbers of the header, and checks the file's
/// length against it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub(crate) ring: Positions,
    pub(crate) max_message: usize,
    pub(crate) classes: [Class; CLASSES],
    /// Where the slots of the first section are, and those of the others.
    pub(crate) slots_at: usize,
    further_slots_at: u64,
    pub(crate) control_bytes: usize,
    pub(crate) file_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Class {
    pub(crate) count: u32,
    /// How many have their records in the control memory; those of the others are mapped section by section.
    pub(crate) near: u32,
    pub(crate) block_bytes: usize,
    /// How many blocks are mapped at a time; 0 for blocks that are mapped one by one.
    pub(crate) per_window: u32,
    /// The same as a power of 2, for the classes of short blocks.
    pub(crate) window_shift: u32,
    pub(crate) records_at: usize,
    further_records_at: u64,
    pub(crate) blocks_at: u64,
}

impl Class {
    /// The sections of its records, and of what else is known block by block.
    #[inline]
    pub(crate) fn sections(&self) -> Sections {
        Sections::new(self.near)
    }

    /// Where in the file the record of a block is.
    pub(crate) fn record_at(&self, index: u32) -> u64 {
        match index.checked_sub(self.near) {
            None => self.records_at as u64 + u64::from(index) * size_of::<Record>() as u64,
            Some(further) => self.further_records_at + u64::from(further) * size_of::<Record>() as u64,
        }
    }
}

const SMALL: usize = CELL_MAX;
const MEDIUM: usize = 64 * 1024;
/// The class of blocks that are mapped one by one.
pub(crate) const LARGE: u8 = 3;
/// Blocks beyond one for each slot: for loans, leases and messages on their way in or out.
const SPARE: u32 = 4096;
/// The same of those that stay with the threads that put them, a thousand each.
const SPARE_CELLS: u32 = 1 << 16;
const MAX_LARGE: u32 = 4096;
/// How many blocks of a class a queue that grows knows without further mappings: a power of 2.
const NEAR: u32 = FIRST_SECTION + SPARE_CELLS;

impl Geometry {
    /// The geometry for what a caller wishes or a header says; `None` if that is out of bounds.
    pub(crate) fn new(capacity: u64, fitted: u64, max_message: u64) -> Option<Self> {
        let grows = capacity & GROWS != 0;
        let capacity = u32::try_from(capacity & !GROWS).ok().filter(|n| (1..=MAX_CAPACITY).contains(&(*n as usize)))?;
        let ring = if grows {
            let is_allowed = capacity.is_power_of_two() && capacity <= FIRST_SECTION;
            is_allowed.then(|| Positions::growing(capacity, SECTIONS as u32))?
        } else {
            Positions::new(capacity)
        };
        let fitted = usize::try_from(fitted).ok()?;
        let max_message = usize::try_from(max_message).ok().filter(|n| *n <= MAX_MAX_MESSAGE)?;
        if !(64..=FITTED_MAX).contains(&fitted) || !fitted.is_multiple_of(64) {
            return None;
        }
        let n_slots = ring.n_slots();
        let shapes = [
            (n_slots + SPARE_CELLS, fitted, 1024),
            (n_slots + SPARE_CELLS, SMALL, 512),
            (n_slots + SPARE, MEDIUM, 16),
            (n_slots.min(MAX_LARGE) + SPARE, max_message.next_multiple_of(MEDIUM).max(MEDIUM), 0),
        ];
        let mut at = HEADER_BYTES + PARTICIPANTS * 8;
        let mut classes = shapes.map(|(count, block_bytes, per_window): (u32, usize, u32)| {
            let near = if grows && per_window > 0 { NEAR.min(count) } else { count };
            let records_at = at;
            at += (near.next_multiple_of(RECORDS_STEP) as usize) * size_of::<Record>();
            let window_shift = per_window.max(1).trailing_zeros();
            Class {
                count,
                near,
                block_bytes,
                per_window,
                window_shift,
                records_at,
                further_records_at: 0,
                blocks_at: 0,
            }
        });
        let slots_at = at;
        let control_bytes = (at + ring.capacity as usize * size_of::<Slot>()).next_multiple_of(PART);
        let mut file_bytes = control_bytes as u64;
        let mut part = |bytes: u64, unit: u64| {
            let at = file_bytes;
            file_bytes += bytes.next_multiple_of(unit);
            at
        };
        for class in &mut classes {
            let further = u64::from(class.count - class.near).next_multiple_of(RECORDS_STEP.into());
            class.further_records_at = part(further * size_of::<Record>() as u64, PART as u64);
        }
        // Each section begins at a part, and may be shorter than one.
        let further_slots = u64::from(n_slots - ring.capacity) * size_of::<Slot>() as u64;
        let further_slots_at = part(further_slots + u64::from(ring.n_sections() - 1) * PART as u64, PART as u64);
        for class in &mut classes {
            let blocks = u64::from(class.count.next_multiple_of(class.per_window.max(1)));
            class.blocks_at = part(blocks * class.block_bytes as u64, 1 << 20);
        }
        Some(Self { ring, max_message, classes, slots_at, further_slots_at, control_bytes, file_bytes })
    }

    pub(crate) fn grows(&self) -> bool {
        self.ring.n_sections() > 1
    }

    /// What the header says of the capacity.
    pub(crate) fn capacity(&self) -> u64 {
        u64::from(self.ring.capacity) | if self.grows() { GROWS } else { 0 }
    }

    /// Where in the file a slot is.
    pub(crate) fn slot_at(&self, slot: u32) -> u64 {
        if slot < self.ring.capacity {
            return self.slots_at as u64 + u64::from(slot) * size_of::<Slot>() as u64;
        }
        let sections = self.ring.sections();
        let (section, first) = (sections.of(slot), sections.first(sections.of(slot)));
        let before = u64::from(first - self.ring.capacity) * size_of::<Slot>() as u64;
        let section_at =
            self.further_slots_at + (before + u64::from(section - 1) * PART as u64).next_multiple_of(PART as u64);
        section_at + u64::from(slot - first) * size_of::<Slot>() as u64
    }

    /// The classes whose blocks hold `len` bytes, the smallest blocks first; none if that is too much.
    pub(crate) fn classes_for(&self, len: usize) -> impl Iterator<Item = u8> + use<> {
        let fitted = self.classes[0].block_bytes;
        let order = if fitted <= SMALL { [0, 1, 2, LARGE] } else { [1, 0, 2, LARGE] };
        let holds = self.classes.map(|class| len <= class.block_bytes && len <= self.max_message);
        order.into_iter().filter(move |class| holds[usize::from(*class)])
    }

    /// Whether there is such a block.
    #[inline]
    pub(crate) fn has(&self, block: BlockId) -> bool {
        block.index < self.classes[usize::from(block.class & 3)].count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_bounds_headers_have_no_geometry() {
        assert!(Geometry::new(0, 64, 1).is_none());
        assert!(Geometry::new(1 << 25, 64, 1).is_none());
        assert!([0, 3, 1 << 17].iter().all(|first| Geometry::new(GROWS | first, 64, 1).is_none()));
        assert!(Geometry::new(u64::MAX, 64, 1).is_none());
        assert!(Geometry::new(1, 0, 1).is_none());
        assert!(Geometry::new(1, 72, 1).is_none());
        assert!(Geometry::new(1, u64::MAX, 1).is_none());
        assert!(Geometry::new(1, 64, u64::MAX).is_none());
        assert!(Geometry::new(MAX_CAPACITY as u64, 64, MAX_MAX_MESSAGE as u64).is_some());
    }

    #[test]
    fn a_queue_that_grows_has_a_place_for_everything() {
        let geometry = Geometry::new(GROWS | u64::from(FIRST_SECTION), 64, MAX_MAX_MESSAGE as u64).unwrap();
        assert_eq!(geometry.capacity(), GROWS | u64::from(FIRST_SECTION));
        assert!(
            geometry.control_bytes < 16 << 20,
            "it takes {} bytes of each user's addresses",
            geometry.control_bytes
        );
        let n_slots = geometry.ring.n_slots();
        assert!(geometry.classes[..3].iter().all(|class| class.count > n_slots && class.count < 1 << 30));
        // Part after part, none inside another.
        let mut parts: Vec<(u64, u64)> = vec![(geometry.slot_at(0), geometry.slot_at(geometry.ring.capacity - 1) + 16)];
        parts.push((geometry.slot_at(geometry.ring.capacity), geometry.slot_at(n_slots - 1) + 16));
        for class in &geometry.classes {
            parts.push((class.record_at(0), class.record_at(class.near - 1) + 32));
            if class.near < class.count {
                assert!(class.near.is_power_of_two());
                parts.push((class.record_at(class.near), class.record_at(class.count - 1) + 32));
            }
            parts.push((class.blocks_at, class.blocks_at + u64::from(class.count) * class.block_bytes as u64));
        }
        parts.sort_unstable();
        assert!(parts.windows(2).all(|pair| pair[0].1 <= pair[1].0) && parts[parts.len() - 1].1 <= geometry.file_bytes);
    }

    #[test]
    fn messages_go_into_the_smallest_blocks_that_hold_them() {
        let classes = |fitted, len| Geometry::new(4, fitted, 1 << 20).unwrap().classes_for(len).collect::<Vec<_>>();
        assert_eq!(classes(64, 64), [0, 1, 2, 3]);
        assert_eq!(classes(64, 65), [1, 2, 3]);
        assert_eq!(classes(1024, 65), [1, 0, 2, 3]);
        assert_eq!(classes(1024, 513), [0, 2, 3]);
        assert_eq!(classes(64, 70_000), [3]);
        assert!(classes(64, (1 << 20) + 1).is_empty());
    }

    #[test]
    fn short_sections_lie_apart() {
        let geometry = Geometry::new(GROWS | 1, 64, 1).unwrap();
        let sections = geometry.ring.sections();
        let parts = (1..SECTIONS as u32).map(|k| (sections.first(k), sections.len(k)));
        let ends: Vec<_> =
            parts.map(|(first, len)| (geometry.slot_at(first), geometry.slot_at(first + len - 1) + 16)).collect();
        assert!(ends.iter().all(|(at, _)| at.is_multiple_of(PART as u64)));
        assert!(ends.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        assert!(ends[SECTIONS - 2].1 <= geometry.classes[0].blocks_at);
    }

    #[test]
    fn parts_begin_at_pages_of_any_size() {
        for (capacity, fitted, max_message) in
            [(1, 64, 0), (1000, 192, 1 << 30), (1 << 24, 4352, 1), (GROWS | 1 << 16, 64, 1)]
        {
            let geometry = Geometry::new(capacity, fitted, max_message).unwrap();
            for class in &geometry.classes {
                if class.near < class.count {
                    assert!(class.record_at(class.near).is_multiple_of(64 << 10));
                }
                let window = class.block_bytes * class.per_window.max(1) as usize;
                for page in [4 << 10, 16 << 10, 64 << 10] {
                    assert!(class.blocks_at.is_multiple_of(page as u64) && window.is_multiple_of(page), "{page}");
                }
            }
        }
    }
}
