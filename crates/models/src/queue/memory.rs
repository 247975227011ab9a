//! A model's memory, as the steps of the ring, of custody and of leases ask for it.

use std::sync::atomic::Ordering::SeqCst;

use super::{
    MAX_DELIVERIES, Model, Pair, block,
    custody::Custody,
    holder, large,
    leasing::Leasing,
    ring::{AtomicU32, AtomicU64, Ring, Side, Spot, Stop, fence},
    small,
    word::{BlockId, BlockState, Holder, Owner, Positions, SlotWord},
};

impl Ring for Model {
    type At<'a> = &'a Pair;

    fn positions(&self) -> &Positions {
        &self.positions
    }

    fn hint(&self, side: Side) -> &AtomicU64 {
        &self.hints[side as usize]
    }

    fn event(&self, side: Side) -> &AtomicU32 {
        &self.events[side as usize]
    }

    fn word(&self, slot: u32) -> Option<SlotWord> {
        Some(SlotWord(self.slots[slot as usize].first()))
    }

    fn at(&self, slot: u32) -> &Pair {
        &self.slots[slot as usize]
    }

    fn is_readable(&self, _: u32) -> bool {
        true
    }

    fn word_at(&self, at: &Pair) -> SlotWord {
        SlotWord(at.first())
    }

    fn payload_at(&self, at: &Pair) -> u64 {
        at.second()
    }

    fn swap_word_at(&self, at: &Pair, from: SlotWord, to: SlotWord) -> bool {
        let second = at.second();
        at.swap((from.0, second), (to.0, second))
    }

    fn swap_at(&self, at: &Pair, from: (SlotWord, u64), to: (SlotWord, u64)) -> bool {
        at.swap((from.0.0, from.1), (to.0.0, to.1))
    }

    fn may_put(&self, _: u32) -> bool {
        true
    }

    fn provide(&self, _: u32) -> Result<(), Stop> {
        Ok(())
    }

    fn is_untouched(&self, _: u32) -> bool {
        false
    }

    fn settle_taken(&self, spot: &Spot, payload: u64) -> Result<(), Stop> {
        self.settle(spot, payload);
        Ok(())
    }

    fn quarantine(&self) -> Stop {
        panic!("nobody damages a model's memory")
    }

    fn after_swap(&self) {
        fence(SeqCst);
    }

    fn wake(&self, event: &AtomicU32, n: u32) -> usize {
        let mut asleep = self.asleep.lock().unwrap();
        let before = asleep.len();
        let mut left = n;
        asleep.retain(|(at, _)| {
            let wakes = *at == std::ptr::from_ref(event).addr() && left > 0;
            left -= u32::from(wakes);
            !wakes
        });
        self.woken.notify_all();
        before - asleep.len()
    }
}

impl Custody for Model {
    fn record(&self, block: BlockId) -> (u64, u64) {
        let record = &self.records[block.index as usize];
        (large(record.first()), record.second())
    }

    fn swap_record(&self, block: BlockId, from: (u64, u64), to: (u64, u64)) -> bool {
        self.records[block.index as usize].swap((small(from.0), from.1), (small(to.0), to.1))
    }

    fn holder_at(&self, owner: Owner) -> Option<Holder> {
        Some(holder(owner))
    }

    fn when_taken(&self, by: Option<Holder>) -> BlockState {
        match by {
            Some(to) if self.leases => BlockState::Leased { to, deliveries: 1 },
            None if self.leases => BlockState::Orphan { deliveries: 0 },
            by => by.map_or(BlockState::Free, BlockState::Held),
        }
    }
}

impl Leasing for Model {
    fn orphans(&self) -> &AtomicU32 {
        &self.orphans
    }

    fn done(&self) -> &AtomicU32 {
        &self.done
    }

    fn max_deliveries(&self) -> u8 {
        MAX_DELIVERIES
    }

    fn all_blocks(&self) -> Result<impl Iterator<Item = BlockId>, Stop> {
        Ok((0..self.records.len() as u32).map(block))
    }

    fn swap_state(&self, block: BlockId, from: u64, to: BlockState) -> bool {
        let record = &self.records[block.index as usize];
        loop {
            let (word, place) = (record.first(), record.second());
            if word != small(from) {
                return false;
            }
            if record.swap((word, place), (small(to.to_word()), place)) {
                return true;
            }
        }
    }

    fn free_finished(&self, block: BlockId) {
        self.free(block);
    }
}
