//! What lies where in a queue's memory file. Everything here is read by processes that do not trust each other.
//!
//! ```text
//! header | participants | records of 4 classes | slots || blocks: fitted | small | medium | large
//! `--------------- control: always mapped ------------------' `---- mapped when used -------'
//! ```

use std::sync::atomic::{AtomicU32, AtomicU64};

use kernel::{liveness::RegisterWords, shm::ShmSafe};

use super::word::{BlockId, Positions};
use crate::sys::double_word::DoubleWord;

/// Room for the header. No part of the layout depends on how long a page is.
pub(crate) const HEADER_BYTES: usize = 4096;
/// What is mapped by itself begins at a multiple of that: of the largest page size there is.
const PART: usize = 64 * 1024;
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"ipcQueue");
pub(crate) const VERSION: u32 = 3;

/// How many processes (handles that did not come from `clone`, to be exact) can use a queue at a time.
pub(crate) const PARTICIPANTS: usize = 1024;
/// The longest message that stays with its putter until it has been taken, see `cells.rs`.
pub(crate) const CELL_MAX: usize = 512;
/// The largest block made to measure.
pub(crate) const FITTED_MAX: usize = 4096 + 256;
pub(crate) const MAX_CAPACITY: usize = 1 << 24;
/// What a queue without a `maxsize` holds.
pub(crate) const DEFAULT_CAPACITY: usize = 1 << 16;
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

/// At the very begin.
#[repr(C)]
pub(crate) struct Header {
    pub(crate) magic: AtomicU64,
    pub(crate) version: AtomicU32,
    /// 1 for a queue that leases its items.
    pub(crate) leases: AtomicU32,
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
    /// When somebody last looked for the dead, on the monotonic clock in milliseconds: leases, everything.
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
    /// The same as a power of 2, for the classes of short blocks.
    pub(crate) window_shift: u32,
    pub(crate) records_at: usize,
    pub(crate) blocks_at: u64,
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

impl Geometry {
    /// The geometry for what a caller wishes or a header says; `None` if that is out of bounds.
    pub(crate) fn new(capacity: u64, fitted: u64, max_message: u64) -> Option<Self> {
        let capacity = usize::try_from(capacity).ok().filter(|n| (1..=MAX_CAPACITY).contains(n))?;
        let fitted = usize::try_from(fitted).ok()?;
        let max_message = usize::try_from(max_message).ok().filter(|n| *n <= MAX_MAX_MESSAGE)?;
        if !(64..=FITTED_MAX).contains(&fitted) || !fitted.is_multiple_of(64) {
            return None;
        }
        let capacity_u32 = u32::try_from(capacity).ok()?;
        let mut at = HEADER_BYTES + PARTICIPANTS * 8;
        let shapes = [
            (capacity_u32 + SPARE_CELLS, fitted, 1024),
            (capacity_u32 + SPARE_CELLS, SMALL, 512),
            (capacity_u32 + SPARE, MEDIUM, 16),
            (capacity_u32.min(MAX_LARGE) + SPARE, max_message.next_multiple_of(MEDIUM).max(MEDIUM), 0),
        ];
        let mut classes = shapes.map(|(count, block_bytes, per_window): (u32, usize, u32)| {
            let records_at = at;
            at += (count.next_multiple_of(RECORDS_STEP) as usize) * size_of::<Record>();
            let window_shift = per_window.max(1).trailing_zeros();
            Class { count, block_bytes, per_window, window_shift, records_at, blocks_at: 0 }
        });
        let slots_at = at;
        let control_bytes = (at + capacity * size_of::<Slot>()).next_multiple_of(PART);
        let mut file_bytes = control_bytes as u64;
        for class in &mut classes {
            class.blocks_at = file_bytes;
            let blocks = u64::from(class.count.next_multiple_of(class.per_window.max(1)));
            file_bytes += (blocks * class.block_bytes as u64).next_multiple_of(1 << 20);
        }
        let ring = Positions::new(capacity_u32);
        Some(Self { ring, max_message, classes, slots_at, control_bytes, file_bytes })
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
        assert!(Geometry::new(u64::MAX, 64, 1).is_none());
        assert!(Geometry::new(1, 0, 1).is_none());
        assert!(Geometry::new(1, 72, 1).is_none());
        assert!(Geometry::new(1, u64::MAX, 1).is_none());
        assert!(Geometry::new(1, 64, u64::MAX).is_none());
        assert!(Geometry::new(MAX_CAPACITY as u64, 64, MAX_MAX_MESSAGE as u64).is_some());
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
    fn parts_begin_at_pages_of_any_size() {
        for (capacity, fitted, max_message) in [(1, 64, 0), (1000, 192, 1 << 30), (1 << 24, 4352, 1)] {
            let geometry = Geometry::new(capacity, fitted, max_message).unwrap();
            for class in &geometry.classes {
                let window = class.block_bytes * class.per_window.max(1) as usize;
                for page in [4 << 10, 16 << 10, 64 << 10] {
                    assert!(class.blocks_at.is_multiple_of(page as u64) && window.is_multiple_of(page), "{page}");
                }
            }
        }
    }
}
