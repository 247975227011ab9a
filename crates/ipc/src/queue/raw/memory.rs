//! The ring and the custody of blocks, in a queue's memory; and how far the slots have memory.
//!
//! # Safety
//! Slots are asked for by indices that `Positions::split` has checked against the capacity.
#![allow(unsafe_code)]

use std::{
    ptr::NonNull,
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed},
    },
};

use kernel::futex;

use super::{
    super::{
        barrier,
        custody::Custody,
        layout::{SLOTS_STEP, Slot},
        ring::{Ring, Side, Spot, Stop},
        word::{BlockId, BlockState, Holder, Owner, Positions, SlotWord, Taken},
    },
    Raw,
};
use crate::sys::prefetch;

impl Ring for Raw {
    type At<'a> = &'a Slot;

    #[inline(always)]
    fn positions(&self) -> &Positions {
        &self.segment.geometry.ring
    }

    #[inline(always)]
    fn hint(&self, side: Side) -> &AtomicU64 {
        let header = self.segment.header();
        match side {
            Side::Items => &header.head,
            Side::Space => &header.tail,
        }
    }

    #[inline(always)]
    fn event(&self, side: Side) -> &AtomicU32 {
        let header = self.segment.header();
        match side {
            Side::Items => &header.items,
            Side::Space => &header.space,
        }
    }

    #[inline(always)]
    fn reach(&self, position: u64, side: Side) -> Option<(u64, u32, &Slot)> {
        let n_near = match side {
            Side::Items => &self.near_readable,
            Side::Space => &self.near_putable,
        };
        match self.positions().split_near(position) {
            Some((lap, slot)) if slot < n_near.load(Relaxed) => {
                // SAFETY: slots of the first section have been reached, up to this number.
                Some((lap, slot, unsafe { self.segment.near_slot(slot) }))
            }
            _ => self.reach_any(position, side),
        }
    }

    #[inline(always)]
    fn word(&self, slot: u32) -> Option<SlotWord> {
        self.is_readable(slot).then(|| self.word_at(self.at(slot)))
    }

    #[inline(always)]
    fn is_readable(&self, slot: u32) -> bool {
        slot < self.readable.load(Relaxed) || slot < self.refresh_reserved()
    }

    #[inline(always)]
    fn at(&self, slot: u32) -> &Slot {
        self.slot(slot)
    }

    #[inline(always)]
    fn word_at(&self, at: &Slot) -> SlotWord {
        // Acquire: the message is there when the word says so.
        SlotWord(at.first.load(Acquire))
    }

    #[inline(always)]
    fn payload_at(&self, at: &Slot) -> u64 {
        // Acquire: a look at the word that comes later in the program comes later.
        at.second.load(Acquire)
    }

    #[inline(always)]
    fn swap_word_at(&self, at: &Slot, from: SlotWord, to: SlotWord) -> bool {
        // See the table in `ring/mod.rs`; after a failure the word is read once more.
        at.first.compare_exchange(from.0, to.0, AcqRel, Relaxed).is_ok()
    }

    #[inline(always)]
    fn swap_at(&self, at: &Slot, from: (SlotWord, u64), to: (SlotWord, u64)) -> bool {
        at.swap((from.0.0, from.1), (to.0.0, to.1))
    }

    #[inline(always)]
    fn expect(&self, at: &Slot, ahead: usize) {
        // Nothing is read: any address will do.
        let address = std::ptr::from_ref(at).wrapping_add(ahead).cast_mut();
        if let Some(address) = NonNull::new(address) {
            prefetch::to_write(address.cast(), 1);
        }
    }

    #[inline(always)]
    fn may_put(&self, slot: u32) -> bool {
        slot < self.putable.load(Relaxed)
    }

    #[cold]
    fn is_untouched(&self, slot: u32) -> bool {
        // Acquire: pairs with `provide`, so that no slot below the number is without memory.
        slot >= self.segment.header().reserved_slots.load(Acquire)
    }

    #[cold]
    fn provide(&self, slot: u32) -> Result<(), Stop> {
        let geometry = &self.segment.geometry;
        self.refresh_reserved();
        // Slots are filled one after another. A forged word that sends a putter further must not make it fill the file.
        if slot.saturating_sub(self.reserved_slots()) > SLOTS_STEP {
            return Err(self.quarantine());
        }
        while !self.may_put(slot) {
            let first = self.reserved_slots();
            let end = if first < geometry.ring.n_slots() {
                geometry.ring.section_end(first).min(first.saturating_add(SLOTS_STEP))
            } else {
                first
            };
            self.segment.reach_slots(end)?;
            if end > first {
                let bytes = (end - first) as usize * size_of::<Slot>();
                self.segment.reserve_control(geometry.slot_at(first), bytes)?;
                // Release: the memory is there before the number says so.
                self.segment.header().reserved_slots.fetch_max(end, AcqRel);
            }
            self.refresh_reserved();
        }
        Ok(())
    }

    fn settle_taken(&self, spot: &Spot, payload: u64) -> Result<(), Stop> {
        self.reach(Taken::from_payload(payload).block)?;
        self.settle(spot, payload);
        Ok(())
    }

    #[cold]
    fn quarantine(&self) -> Stop {
        self.damaged.store(true, Relaxed);
        Stop::Damaged
    }

    #[inline(always)]
    fn after_swap(&self) {
        barrier::after_swap();
    }

    fn wake(&self, event: &AtomicU32, n: u32) -> usize {
        futex::wake(event, n)
    }
}

impl Custody for Raw {
    fn record(&self, block: BlockId) -> (u64, u64) {
        match self.segment.find_record(block) {
            // Acquire: the block's bytes are as its state says; and the place is read after the state.
            Some(record) => (record.state.first.load(Acquire), record.state.second.load(Acquire)),
            None => (BlockState::Invalid.to_word(), 0),
        }
    }

    fn swap_record(&self, block: BlockId, from: (u64, u64), to: (u64, u64)) -> bool {
        self.segment.find_record(block).is_some_and(|record| record.state.swap(from, to))
    }

    fn holder_at(&self, owner: Owner) -> Option<Holder> {
        Some(Holder::new(owner, self.participants().at(owner)?))
    }

    fn when_taken(&self, by: Option<Holder>) -> BlockState {
        match (by, self.leases) {
            (Some(to), true) => BlockState::Leased { to, deliveries: 1 },
            (Some(by), false) => BlockState::Held(by),
            (None, true) => BlockState::Orphan { deliveries: 0 },
            (None, false) => BlockState::Free,
        }
    }
}

impl Raw {
    /// A slot that is readable here.
    #[inline(always)]
    fn slot(&self, index: u32) -> &Slot {
        debug_assert!(index < self.segment.geometry.ring.n_slots());
        // SAFETY: indices come from `Positions::split`, which gives no others, and are compared with `readable`, up to
        // which all slots have been reached.
        unsafe { self.segment.slot(index) }
    }

    /// How many slots have memory.
    pub(crate) fn reserved_slots(&self) -> u32 {
        // Acquire: as in `is_untouched`.
        let reserved = self.segment.header().reserved_slots.load(Acquire).min(self.segment.geometry.ring.n_slots());
        let size = size_of::<Slot>() as u64;
        if self.segment.may_have(u64::from(reserved) * size) {
            reserved
        } else {
            let memory = self.segment.memory_bytes().unwrap_or(0);
            (memory / size).min(reserved.into()) as u32
        }
    }

    /// How many slots have memory and can be read here.
    #[cold]
    pub(super) fn refresh_reserved(&self) -> u32 {
        let ring = self.segment.geometry.ring;
        let mut reserved = self.reserved_slots();
        while self.segment.reach_slots(reserved).is_err() {
            // Without addresses for its section, as far as the section before it.
            reserved = ring.sections().first(ring.sections().of(reserved - 1));
        }
        let n_slots = ring.n_slots();
        let putable = if reserved == n_slots { n_slots } else { reserved.saturating_sub(1) };
        self.readable.store(reserved, Relaxed);
        self.putable.store(putable, Relaxed);
        self.near_readable.store(reserved.min(ring.capacity), Relaxed);
        self.near_putable.store(putable.min(ring.capacity), Relaxed);
        reserved
    }
}
