//! Two words that are swapped together, in one that loom knows.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use super::{ring::AtomicU64, word::BlockState};

/// Deliveries stand in a record's high bits, which a model has none of: they move to where they fit.
const DELIVERIES_SHIFT: u32 = 28;

fn with_deliveries(state: BlockState, n: u8) -> (BlockState, u8) {
    match state {
        BlockState::Leased { to, deliveries } => (BlockState::Leased { to, deliveries: n }, deliveries),
        BlockState::Orphan { deliveries } => (BlockState::Orphan { deliveries: n }, deliveries),
        BlockState::DeadLetter { deliveries } => (BlockState::DeadLetter { deliveries: n }, deliveries),
        state => (state, 0),
    }
}

/// A record's word as a model has it.
pub(super) fn small(word: u64) -> u64 {
    let (bare, deliveries) = with_deliveries(BlockState::from_word(word), 0);
    bare.to_word() | u64::from(deliveries) << DELIVERIES_SHIFT
}

/// The same as everybody else has it.
pub(super) fn large(word: u64) -> u64 {
    let bare = BlockState::from_word(word & ((1 << DELIVERIES_SHIFT) - 1));
    with_deliveries(bare, (word >> DELIVERIES_SHIFT) as u8).0.to_word()
}

/// Two words of 32 bits in one of 64: loom knows no swap of two words. A word of ours is small in a model: a lap of a few
/// bits, payloads and holders of a few more.
pub(super) struct Pair(AtomicU64);

impl Pair {
    pub(super) fn new(first: u64, second: u64) -> Self {
        Self(AtomicU64::new(Self::pack(first, second)))
    }

    fn pack(first: u64, second: u64) -> u64 {
        assert!(first >> 32 == 0 && second >> 32 == 0, "too large for a model: {first:x} {second:x}");
        first << 32 | second
    }

    pub(super) fn first(&self) -> u64 {
        self.0.load(Acquire) >> 32
    }

    pub(super) fn second(&self) -> u64 {
        self.0.load(Acquire) & u64::from(u32::MAX)
    }

    pub(super) fn swap(&self, from: (u64, u64), to: (u64, u64)) -> bool {
        let (from, to) = (Self::pack(from.0, from.1), Self::pack(to.0, to.1));
        self.0.compare_exchange(from, to, SeqCst, Relaxed).is_ok()
    }

    /// The second word alone is stored by who has the pair to itself.
    pub(super) fn set_second(&self, second: u64) {
        let first = self.first();
        self.0.store(Self::pack(first, second), Release);
    }
}
