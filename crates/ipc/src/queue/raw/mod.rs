//! A queue without types, as one process has it: the ring and the custody of its blocks, in a queue's memory (`memory.rs`).

mod memory;

use std::{
    collections::VecDeque,
    io,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
};

use kernel::{
    handover,
    liveness::{Participant, Verdict},
};
use parking_lot::Mutex;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    barrier,
    here::Here,
    kept::{self, CELL_CLASSES},
    layout::CELL_MAX,
    leasing::Leasing,
    participants::Participants,
    ring::{Dequeue, Enqueue, Locate, Ring, Side, Stop},
    segment::Segment,
    store::Store,
    word::{BlockId, Holder},
};
use crate::{spin::Spin, sys::double_word};

/// Where many wait, each look at a slot takes its cache line from the thread that works on it.
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
    /// This process as a participant, once it has entered.
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

    /// Whether there is such a block, and its record can be read here.
    #[inline]
    pub(crate) fn has(&self, block: BlockId) -> bool {
        self.segment.find_record(block).is_some()
    }

    /// Maps the record of a block: `Damaged` if there is no such block.
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

    /// The holder that blocks name this process by.
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
