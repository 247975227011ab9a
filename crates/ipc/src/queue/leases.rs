//! Items on loan: what `JoinableQueue` adds to the ring. An item leaves the ring by becoming a leased block, and a
//! lease whose taker died becomes an orphan, which the next getter takes over. Nothing ever goes back into the ring.

use super::{layout::BlockId, ring::Raw, word::SlotWord};

impl Raw {
    pub(crate) fn rescue(&self, _slot: u32, _word: SlotWord) {}

    pub(crate) fn orphan(&self, _id: BlockId, _word: u64, _deliveries: u8) -> bool {
        true
    }

    pub(crate) fn seek_orphans(&self) {}
}
