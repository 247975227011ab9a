//! What lies where in a queue's memory file. Everything here is read by processes that do not trust each other.
//!
//! ```text
//! header | participants | records of 3 block classes | slots || blocks: small | medium | large
//! `--------------- control: always mapped ------------------' `---- mapped when used -------'
//! ```

use std::sync::atomic::{AtomicU32, AtomicU64};

use proc_core::shm::ShmSafe;

use super::{protocol::SlotHead, word::Positions};

pub(crate) const PAGE: usize = 4096;
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"ipcQueue");
pub(crate) const VERSION: u32 = 1;

/// How many processes (handles that did not come from `clone`, to be exact) can use a queue at a time.
pub(crate) const PARTICIPANTS: usize = 1024;
/// Where a slot's payload begins.
pub(crate) const SLOT_HEAD: usize = 16;
/// The largest payload that can be kept inside a slot.
pub(crate) const INLINE_MAX: usize = 4096 + 240;
pub(crate) const MAX_CAPACITY: usize = 1 << 24;
/// What a queue without a `maxsize` holds.
pub(crate) const DEFAULT_CAPACITY: usize = 1 << 16;
pub(crate) const DEFAULT_MAX_MESSAGE: usize = (1 << 30) + PAGE;
const MAX_MAX_MESSAGE: usize = 1 << 38;
/// How many records of a class, how many bytes of slots are reserved at a time.
pub(crate) const RECORDS_STEP: u32 = (PAGE / size_of::<Record>()) as u32;
pub(crate) const SLOTS_STEP_BYTES: usize = 128 * 1024;

/// A value alone on its cache lines (two: the prefetcher takes them in pairs).
#[repr(C, align(128))]
pub(crate) struct Line<T>(pub(crate) T);

impl<T> std::ops::Deref for Line<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// The first page.
#[repr(C)]
pub(crate) struct Header {
    pub(crate) magic: AtomicU64,
    pub(crate) version: AtomicU32,
    /// 1 for a queue that leases its items.
    pub(crate) leases: AtomicU32,
    pub(crate) capacity: AtomicU64,
    pub(crate) stride: AtomicU64,
    pub(crate) max_message: AtomicU64,
    /// After how many deliveries an item becomes a dead letter.
    pub(crate) max_deliveries: AtomicU32,
    /// Hints: at most the first position that nobody has claimed for writing, for reading.
    pub(crate) tail: Line<AtomicU64>,
    pub(crate) head: Line<AtomicU64>,
    /// Event counts, see `events.rs`: something was put, a slot became free, an item was done.
    pub(crate) items: Line<AtomicU32>,
    pub(crate) space: Line<AtomicU32>,
    pub(crate) done: Line<AtomicU32>,
    /// Hint: 1 if there may be orphans.
    pub(crate) orphans: Line<AtomicU32>,
    /// When somebody last looked for the dead, on the monotonic clock in milliseconds: leases, everything.
    pub(crate) last_look: Line<AtomicU64>,
    pub(crate) last_sweep: Line<AtomicU64>,
    /// How many slots have memory.
    pub(crate) reserved_slots: Line<AtomicU32>,
    pub(crate) pools: [Line<Pool>; 3],
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

const _: () = assert!(size_of::<Header>() <= PAGE && align_of::<Header>() == 128);
const _: () = assert!(std::mem::offset_of!(Header, tail) == 128 && std::mem::offset_of!(Header, pools) == 128 * 10);

const _: () = assert!(size_of::<SlotHead>() == SLOT_HEAD);

/// What is known of a block.
#[repr(C)]
pub(crate) struct Record {
    /// A `BlockState`.
    pub(crate) word: AtomicU64,
    /// How many bytes of the message there are; the owner's.
    pub(crate) len: AtomicU64,
    /// The ring position (plus 1) from which a leased message was copied; the owner's.
    pub(crate) origin: AtomicU64,
    /// How many bytes of the block have memory; the owner's.
    pub(crate) reserved: AtomicU64,
}

/// Where a slot's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meta {
    /// In the slot itself: so many bytes.
    Inline(usize),
    Block(BlockId),
}

/// A block: its class and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockId {
    pub(crate) class: u8,
    pub(crate) index: u32,
}

impl Meta {
    pub(crate) fn to_word(self) -> u64 {
        match self {
            Self::Inline(len) => (len as u64) << 3 | 1,
            Self::Block(id) => u64::from(id.index) << 3 | (2 + u64::from(id.class)),
        }
    }

    /// The length of a message that lies in its slot.
    #[inline]
    pub(crate) fn inline(word: u64, geometry: &Geometry) -> Option<usize> {
        let len = (word >> 3) as usize;
        (word & 7 == 1 && len <= geometry.inline()).then_some(len)
    }

    /// `None` for what cannot be; a page of zeros in particular.
    #[inline]
    pub(crate) fn from_word(word: u64, geometry: &Geometry) -> Option<Self> {
        let rest = word >> 3;
        match word & 7 {
            1 => usize::try_from(rest).ok().filter(|len| *len <= geometry.inline()).map(Self::Inline),
            tag @ 2..=4 => {
                let class = (tag - 2) as u8;
                let index = u32::try_from(rest).ok()?;
                (index < geometry.classes[usize::from(class)].count).then_some(Self::Block(BlockId { class, index }))
            }
            _ => None,
        }
    }
}

/// The shape of a queue: each process computes it for itself from four numbers of the header, and checks the file's
/// length against it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub(crate) ring: Positions,
    pub(crate) stride: usize,
    pub(crate) max_message: usize,
    pub(crate) classes: [Class; 3],
    pub(crate) slots_at: usize,
    pub(crate) control_bytes: usize,
    pub(crate) file_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Class {
    pub(crate) count: u32,
    pub(crate) block_bytes: usize,
    /// How many blocks are mapped at a time; 0 for blocks that are mapped one by one.
    pub(crate) per_window: u32,
    pub(crate) records_at: usize,
    pub(crate) blocks_at: u64,
}

const SMALL: usize = 512;
const MEDIUM: usize = 64 * 1024;
/// Blocks beyond one for each slot: for loans, leases and messages on their way in or out.
const SPARE: u32 = 4096;
const MAX_LARGE: u32 = 4096;

impl Geometry {
    /// The geometry for what a caller wishes or a header says; `None` if that is out of bounds.
    pub(crate) fn new(capacity: u64, stride: u64, max_message: u64) -> Option<Self> {
        let capacity = usize::try_from(capacity).ok().filter(|n| (1..=MAX_CAPACITY).contains(n))?;
        let stride = usize::try_from(stride).ok()?;
        let max_message = usize::try_from(max_message).ok().filter(|n| *n <= MAX_MAX_MESSAGE)?;
        if !(SLOT_HEAD..=SLOT_HEAD + INLINE_MAX).contains(&stride) || !stride.is_multiple_of(16) {
            return None;
        }
        let capacity_u32 = u32::try_from(capacity).ok()?;
        let mut at = PAGE + PARTICIPANTS * 8;
        let large_bytes = max_message.next_multiple_of(MEDIUM);
        let shapes = [
            (capacity_u32 + SPARE, SMALL, 512),
            (capacity_u32 + SPARE, MEDIUM, 16),
            (capacity_u32.min(MAX_LARGE) + SPARE, large_bytes, 0),
        ];
        let mut classes = shapes.map(|(count, block_bytes, per_window)| {
            let records_at = at;
            at += (count as usize * size_of::<Record>()).next_multiple_of(PAGE);
            Class { count, block_bytes, per_window, records_at, blocks_at: 0 }
        });
        let slots_at = at;
        let control_bytes = (at + capacity * stride).next_multiple_of(PAGE);
        let mut file_bytes = control_bytes as u64;
        for class in &mut classes {
            class.blocks_at = file_bytes;
            file_bytes += (u64::from(class.count) * class.block_bytes as u64).next_multiple_of(1 << 20);
        }
        let ring = Positions::new(capacity_u32);
        Some(Self { ring, stride, max_message, classes, slots_at, control_bytes, file_bytes })
    }

    /// How many bytes fit into a slot.
    pub(crate) fn inline(&self) -> usize {
        self.stride - SLOT_HEAD
    }

    /// The smallest class whose blocks hold `len` bytes.
    pub(crate) fn class_for(&self, len: usize) -> Option<u8> {
        if len > self.max_message {
            return None;
        }
        self.classes.iter().position(|class| len <= class.block_bytes).map(|class| class as u8)
    }

    /// How many slots get memory at a time.
    pub(crate) fn slots_step(&self) -> u32 {
        ((SLOTS_STEP_BYTES / self.stride) as u32).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_bounds_headers_have_no_geometry() {
        assert!(Geometry::new(0, 64, 1).is_none());
        assert!(Geometry::new(1 << 25, 64, 1).is_none());
        assert!(Geometry::new(u64::MAX, 64, 1).is_none());
        assert!(Geometry::new(1, 0, 1).is_none());
        assert!(Geometry::new(1, 72, 1).is_none());
        assert!(Geometry::new(1, u64::MAX, 1).is_none());
        assert!(Geometry::new(1, 64, u64::MAX).is_none());
        assert!(Geometry::new(MAX_CAPACITY as u64, 64, MAX_MAX_MESSAGE as u64).is_some());
    }

    #[test]
    fn a_queue_of_1024_small_messages_takes_little() {
        let geometry = Geometry::new(1024, 64, DEFAULT_MAX_MESSAGE as u64).unwrap();
        let resident = PAGE + PARTICIPANTS * 8 + 3 * PAGE + 1024 * geometry.stride;
        assert!(resident <= 128 * 1024);
    }

    #[test]
    fn zeros_are_no_payload() {
        let geometry = Geometry::new(4, 64, 1 << 20).unwrap();
        assert_eq!(Meta::from_word(0, &geometry), None);
        assert_eq!(Meta::from_word(Meta::Inline(48).to_word(), &geometry), Some(Meta::Inline(48)));
        assert_eq!(Meta::from_word(Meta::Inline(49).to_word(), &geometry), None);
        let block = Meta::Block(BlockId { class: 2, index: 3 });
        assert_eq!(Meta::from_word(block.to_word(), &geometry), Some(block));
        assert_eq!(Meta::from_word(u64::MAX, &geometry), None);
    }
}
