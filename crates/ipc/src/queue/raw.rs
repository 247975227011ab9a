//! A queue without types, as one process has it: the ring and the custody of its blocks, in a queue's memory.
//!
//! # Safety
//! Slots are asked for by indices that `Positions::split` has checked against the capacity.
#![allow(unsafe_code)]

use std::{
    collections::VecDeque,
    io,
    ptr::NonNull,
    sync::atomic::{
        AtomicBool, AtomicU32, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed},
    },
};

use kernel::{
    futex, handover,
    liveness::{Participant, Verdict},
};
use parking_lot::Mutex;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    barrier,
    custody::Custody,
    here::Here,
    kept::{self, CELL_CLASSES},
    layout::{CELL_MAX, SLOTS_STEP, Slot},
    leasing::Leasing,
    participants::Participants,
    ring::{Ring, Side, Spot, Stop},
    segment::Segment,
    store::Store,
    word::{BlockId, BlockState, Holder, Owner, Positions, SlotWord, Taken},
};
use crate::{
    spin::Spin,
    sys::{double_word, prefetch},
};

/// Of many that wait, each look at a slot takes its cache line from who works on it.
const LONGEST_PAUSE: u32 = 8;

/// An untyped queue, as one process has it.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) segment: Segment,
    /// Where the handles in its messages are; none if they cannot hold any.
    pub(super) store: Option<Store>,
    /// Whether taken items are leased until done.
    pub(crate) leases: bool,
    pub(crate) max_deliveries: u8,
    /// What this process is to the queue, once it has entered the participants.
    pub(super) here: Here,
    /// How many slots have memory, as far as is known here. All four of these numbers only say how far this process need not
    /// ask: `Relaxed`, since the mapping that they speak of is acquired by `Segment::reach_slots`, and one that is read too
    /// low has `refresh_reserved` ask.
    readable: AtomicU32,
    /// How many slots have memory, and the one after it has, too.
    putable: AtomicU32,
    /// The same, of the first section alone: one comparison on the way that most messages take.
    near_readable: AtomicU32,
    near_putable: AtomicU32,
    /// Another process has overwritten the memory. `Relaxed`: it goes from false to true once, and nothing else depends on it.
    damaged: AtomicBool,
    pub(crate) spin: [Spin; 2],
    /// Counts takes, so that one in so many looks after the dead. `Relaxed`: a wrong count makes that sooner or later.
    pub(crate) leases_taken: AtomicU32,
    /// How long this process took to look at all leases, in milliseconds. `Relaxed`: a hint.
    pub(super) look_ms: AtomicU64,
    /// How long the messages are that go into cells, by class; 0 if none do.
    pub(super) cell_bytes: [usize; CELL_CLASSES],
    /// How many cells a thread takes before it uses one again.
    pub(super) least_cells: usize,
    /// Why messages could not be decoded that were taken along with others.
    pub(super) undecodable: Mutex<VecDeque<handover::Error>>,
    /// Memory for the next message to be decoded.
    pub(crate) spare: Mutex<Vec<u8>>,
}

impl From<io::Error> for Stop {
    fn from(e: io::Error) -> Self {
        Self::System(e.kind())
    }
}

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
        // See the table in `ring.rs`; after a failure the word is read once more.
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
        // Slots are put into one after another: whoever is sent further by what is written there would fill the file.
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
    pub(crate) fn new(segment: Segment, store: Option<Store>) -> io::Result<Self> {
        if !double_word::is_available() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the processor cannot swap 16 bytes at once"));
        }
        // Relaxed: both are written before the memory is shared.
        let leases = segment.header().leases.load(Relaxed) == 1;
        let max_deliveries = segment.header().max_deliveries.load(Relaxed).clamp(1, 255) as u8;
        let bytes = |class: usize| segment.geometry.classes[class].block_bytes;
        let cell_bytes = [0, 1].map(|class| if bytes(class) <= CELL_MAX { bytes(class) } else { 0 });
        let least_cells = kept::LEAST.min(segment.geometry.ring.n_slots() as usize + 1);
        let raw = Self {
            segment,
            store,
            leases,
            max_deliveries,
            here: Here::default(),
            readable: AtomicU32::new(0),
            putable: AtomicU32::new(0),
            near_readable: AtomicU32::new(0),
            near_putable: AtomicU32::new(0),
            damaged: AtomicBool::new(false),
            spin: [Spin::new(LONGEST_PAUSE), Spin::new(LONGEST_PAUSE)],
            leases_taken: AtomicU32::new(0),
            look_ms: AtomicU64::new(0),
            cell_bytes,
            least_cells,
            undecodable: Mutex::default(),
            spare: Mutex::default(),
        };
        barrier::watch_forks();
        raw.refresh_reserved();
        match raw.enter() {
            Ok(_) => Ok(raw),
            Err(Stop::System(kind)) => Err(kind.into()),
            Err(_) => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// For a handle's `Serialize`.
    pub(crate) fn hand_over<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.segment, &self.store).serialize(serializer)
    }

    /// For a handle's `Deserialize`.
    pub(crate) fn arrive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (segment, store) = Deserialize::deserialize(deserializer)?;
        Self::new(segment, store).map_err(de::Error::custom)
    }

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
    fn refresh_reserved(&self) -> u32 {
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

    /// Whether there is such a block, and its record can be read here.
    #[inline]
    pub(crate) fn has(&self, block: BlockId) -> bool {
        self.segment.find_record(block).is_some()
    }

    /// Has the record of a block mapped: `Damaged` if there is no such block.
    #[inline]
    pub(crate) fn reach(&self, block: BlockId) -> Result<(), Stop> {
        match self.segment.find_record(block) {
            Some(_) => Ok(()),
            None if self.segment.geometry.has(block) => Err(Stop::System(io::ErrorKind::OutOfMemory)),
            None => Err(self.quarantine()),
        }
    }

    pub(crate) fn participants(&self) -> Participants<'_> {
        Participants(self.segment.participants())
    }

    /// What blocks know this process by.
    #[inline]
    pub(crate) fn me(&self) -> Result<Holder, Stop> {
        self.check()?;
        match self.here.get() {
            Some(here) => Ok(here.holder),
            None => self.enter(),
        }
    }

    /// An error if the memory has been found damaged.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), Stop> {
        if self.damaged.load(Relaxed) { Err(Stop::Damaged) } else { Ok(()) }
    }

    /// Enters this process into the participants' table: when it attaches, and in a forked child.
    #[cold]
    fn enter(&self) -> Result<Holder, Stop> {
        let participant = self.segment.register().me();
        let owner = match self.participants().enter(participant) {
            Some(owner) => owner,
            None => {
                self.sweep_the_dead();
                self.participants().enter(participant).ok_or(Stop::System(io::ErrorKind::QuotaExceeded))?
            }
        };
        let me = self.here.set(Holder::new(owner, participant));
        if me.owner != owner {
            // Another thread was faster.
            self.participants().leave(owner, participant);
        }
        Ok(me)
    }

    /// Whether a participant is surely dead.
    pub(crate) fn is_dead(&self, participant: Participant) -> bool {
        self.segment.register().verdict(participant) == Verdict::Dead
    }

    /// How many messages there are.
    pub(crate) fn len(&self) -> usize {
        self.count().map_or(0, |n| n.min(u64::from(self.segment.geometry.ring.n_slots())) as usize)
    }

    /// How many fit in; 0 without a limit.
    pub(crate) fn maxsize(&self) -> usize {
        let geometry = &self.segment.geometry;
        if geometry.grows() { 0 } else { geometry.ring.capacity as usize }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.has_none().unwrap_or(true)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.has_room() == Err(Stop::WouldBlock) || self.is_store_full()
    }

    /// Whether an operation on that side would end without waiting.
    pub(crate) fn is_ready(&self, side: Side) -> bool {
        match side {
            Side::Items => self.next() != Err(Stop::WouldBlock) || self.leases && self.may_have_orphans(),
            Side::Space => self.has_room() != Err(Stop::WouldBlock),
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // In a forked child that never used the queue, the entry and the blocks are the parent's.
        let Some(here) = self.here.get() else { return };
        let me = here.holder;
        here.each_cell(|block, place| self.let_go_of_cell(block, place, me));
        if let Some(participant) = self.segment.register().me_if_entered() {
            self.participants().leave(me.owner, participant);
        }
    }
}
