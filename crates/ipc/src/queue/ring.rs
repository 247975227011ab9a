//! The ring: claims of slots, and what is done while one holds them. The protocol is in README.md.
//!
//! # Safety
//! A slot's payload is written only between a claim for writing and its publication, read only between a claim for
//! reading and its release; lengths are checked against the slot's before they are used.
#![allow(unsafe_code)]

use std::{
    io,
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use parking_lot::Mutex;
use proc_core::{futex, identity::ProcessId};

use super::{
    barrier,
    blocks::Block,
    codec::Buffer,
    events::Patience,
    layout::Meta,
    participants::Participants,
    protocol::{CLOSED, CLOSING, Claim, Claimed, Ring, Short, Side, Stop},
    segment::Segment,
    word::{BlockState, Holder, Owner, Phase, Positions, SlotWord, previous_lap},
};
use crate::spin::Spin;

/// Of many that wait, each look at a slot takes its cache line from who works on it.
const LONGEST_PAUSE: u32 = 8;

/// `me` of a handle that has seen damaged memory: no generation is that large.
const QUARANTINED: u64 = u64::MAX;

/// An untyped queue, as one process has it.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) segment: Segment,
    /// Whether taken items are leased until done.
    pub(crate) leases: bool,
    pub(crate) max_deliveries: u8,
    /// This process's owner index below, the fork generation that it belongs to above.
    me: AtomicU64,
    /// What blocks know this process by, see `Holder`.
    signature: AtomicU64,
    /// What is known of `Header::reserved_slots`.
    reserved_slots: AtomicU32,
    pub(crate) spin: [Spin; 2],
    pub(crate) last_look: AtomicU64,
    /// The word that was looked into last without success.
    pub(crate) last_suspect: AtomicU64,
    pub(crate) leases_taken: AtomicU32,
    /// Memory for the next message to be decoded.
    pub(crate) spare: Mutex<Vec<u8>>,
}

impl From<io::Error> for Stop {
    fn from(e: io::Error) -> Self {
        Self::System(e.kind())
    }
}

/// A message that has left the ring.
#[derive(Debug)]
pub(crate) enum Taken<'a> {
    Number(u64),
    /// It is in the buffer that was handed in.
    Inline,
    Block(Block<'a>),
}

/// Callers have seen that it fits.
impl Short for Buffer {
    #[inline(always)]
    fn write(&self, claim: &Claim<'_>) -> SlotWord {
        // SAFETY: the slot is ours; its payload's length is a multiple of 16, and callers keep to it.
        unsafe { self.pour(claim.payload) };
        claim.head.meta.store(Meta::Inline(self.as_bytes().len()).to_word(), Relaxed);
        SlotWord::ready(claim.lap)
    }
}

/// Callers have seen that they fit.
impl Short for [u8] {
    #[inline]
    fn write(&self, claim: &Claim<'_>) -> SlotWord {
        // SAFETY: the slot is ours, and callers keep to its length.
        unsafe { std::ptr::copy_nonoverlapping(self.as_ptr(), claim.payload.as_ptr(), self.len()) };
        claim.head.meta.store(Meta::Inline(self.len()).to_word(), Relaxed);
        SlotWord::ready(claim.lap)
    }
}

impl Ring for Raw {
    #[inline(always)]
    fn positions(&self) -> Positions {
        self.segment.geometry.ring
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
    fn slot_at(&self, position: u64) -> Option<(Claim<'_>, SlotWord)> {
        let (lap, slot) = self.segment.geometry.ring.split(position)?;
        if slot >= self.reserved_slots.load(Relaxed) {
            return None;
        }
        // SAFETY: `split` gives no other.
        let (head, payload) = unsafe { self.segment.slot(slot) };
        // Acquire: the message is there when the word says so.
        let word = SlotWord(head.word.load(Acquire));
        Some((Claim { head, payload, lap, slot }, word))
    }

    #[cold]
    fn provide(&self, position: u64, side: Side) -> Result<bool, Stop> {
        let (_, slot) = self.segment.geometry.ring.split(position).ok_or_else(|| self.quarantine())?;
        if side == Side::Space {
            self.reserve_slots(slot)?;
        }
        Ok(slot < self.refresh_reserved())
    }

    #[cold]
    fn quarantine(&self) -> Stop {
        self.me.store(QUARANTINED, Relaxed);
        Stop::Damaged
    }

    #[inline(always)]
    fn light(&self) {
        barrier::light();
    }

    fn wake(&self, event: &AtomicU32, n: u32) -> usize {
        futex::wake(event, n)
    }

    fn take_back(&self, claim: &Claim<'_>) {
        let meta = Meta::from_word(claim.head.meta.load(Relaxed), &self.segment.geometry);
        if let (Some(Meta::Block(id)), Ok(holder)) = (meta, self.holder()) {
            self.segment.record(id).word.store(BlockState::Held(holder).to_word(), Relaxed);
        }
        self.free_slot(claim);
    }
}

impl Raw {
    pub(crate) fn new(segment: Segment) -> io::Result<Self> {
        barrier::register();
        let leases = segment.header().leases.load(Relaxed) == 1;
        let max_deliveries = segment.header().max_deliveries.load(Relaxed).clamp(1, 255) as u8;
        let spin = [Spin::new(LONGEST_PAUSE), Spin::new(LONGEST_PAUSE)];
        let raw = Self {
            segment,
            leases,
            max_deliveries,
            me: AtomicU64::new(QUARANTINED - 1),
            signature: AtomicU64::new(0),
            reserved_slots: AtomicU32::new(0),
            spin,
            last_look: AtomicU64::new(0),
            last_suspect: AtomicU64::new(0),
            leases_taken: AtomicU32::new(0),
            spare: Mutex::default(),
        };
        raw.refresh_reserved();
        match raw.enter() {
            Ok(_) => Ok(raw),
            Err(Stop::System(kind)) => Err(kind.into()),
            Err(_) => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    pub(crate) fn participants(&self) -> Participants<'_> {
        Participants(self.segment.participants())
    }

    /// This process's name in the words of this queue.
    #[inline]
    pub(crate) fn me(&self) -> Result<Owner, Stop> {
        let me = self.me.load(Relaxed);
        if me >> 32 == u64::from(barrier::forks()) { Ok(Owner(me as u16)) } else { self.enter() }
    }

    /// The same, if it is beyond question.
    #[inline(always)]
    pub(crate) fn me_at_once(&self) -> Option<Owner> {
        let me = self.me.load(Relaxed);
        (me >> 32 == u64::from(barrier::forks())).then_some(Owner(me as u16))
    }

    pub(crate) fn holder(&self) -> Result<Holder, Stop> {
        let owner = self.me()?;
        Ok(Holder { owner, signature: self.signature.load(Relaxed) })
    }

    /// Enters this process into the participants' table: when it attaches, and in a forked child.
    #[cold]
    fn enter(&self) -> Result<Owner, Stop> {
        let before = self.me.load(Relaxed);
        if before == QUARANTINED {
            return Err(Stop::Damaged);
        }
        barrier::register();
        let process = ProcessId::current();
        let owner = match self.participants().enter(process) {
            Some(owner) => owner,
            None => {
                self.sweep_the_dead();
                self.participants().enter(process).ok_or(Stop::System(io::ErrorKind::QuotaExceeded))?
            }
        };
        self.signature.store(Holder::new(owner, process).signature, Relaxed);
        let me = u64::from(barrier::forks()) << 32 | u64::from(owner.0);
        match self.me.compare_exchange(before, me, Release, Relaxed) {
            Ok(_) => Ok(owner),
            Err(_) => {
                // Another thread was faster.
                self.participants().leave(owner, process);
                self.me()
            }
        }
    }

    // ---------------------------------------------------------------------------------------------- writing

    /// Takes a short message into `buffer` if nothing at all stands in the way; false if something does.
    #[inline(always)]
    pub(crate) fn take_at_once(&self, buffer: &mut Buffer) -> bool {
        let Some(me) = self.me_at_once() else { return false };
        let head = self.hint(Side::Items);
        let Some((claim, word)) = self.slot_at(head.load(Relaxed)) else { return false };
        if word != SlotWord::ready(claim.lap) {
            return false;
        }
        let Some(len) = Meta::inline(claim.head.meta.load(Relaxed), &self.segment.geometry) else { return false };
        if !claim.advance(word, SlotWord::reading(claim.lap, me)) {
            return false;
        }
        head.store(self.segment.geometry.ring.after(claim.lap, claim.slot), Relaxed);
        // SAFETY: the slot is ours; `inline` has checked the length.
        unsafe { buffer.fill(claim.payload, len) };
        self.free_slot(&claim);
        true
    }

    /// Puts a message that lies in a block; the block is the queue's from then on.
    pub(crate) fn try_put_block(&self, block: &mut Block<'_>) -> Result<(), Stop> {
        let me = self.me()?;
        let claim = self.claim_write(me)?;
        claim.head.meta.store(Meta::Block(block.id()).to_word(), Relaxed);
        let attached = BlockState::attached(claim.slot, claim.lap).to_word();
        self.segment.record(block.id()).word.store(attached, Release);
        self.publish(&claim, SlotWord::ready(claim.lap), me)?;
        block.given_away();
        Ok(())
    }

    /// Has memory put behind the slots around `slot`.
    #[cold]
    fn reserve_slots(&self, slot: u32) -> Result<(), Stop> {
        while slot >= self.refresh_reserved() {
            let geometry = &self.segment.geometry;
            let first = self.reserved_slots.load(Relaxed);
            let end = first.saturating_add(geometry.slots_step()).min(geometry.ring.capacity);
            let offset = geometry.slots_at + first as usize * geometry.stride;
            self.segment.reserve_control(offset, (end - first) as usize * geometry.stride)?;
            self.segment.header().reserved_slots.fetch_max(end, Relaxed);
        }
        Ok(())
    }

    fn refresh_reserved(&self) -> u32 {
        let reserved = self.segment.header().reserved_slots.load(Relaxed).min(self.segment.geometry.ring.capacity);
        self.reserved_slots.store(reserved, Relaxed);
        reserved
    }

    pub(crate) fn slots_in_use(&self) -> u32 {
        self.refresh_reserved()
    }

    // ---------------------------------------------------------------------------------------------- reading

    /// Takes the next message out of the ring, or says why not. A `patient` getter has waited for a slow writer, and
    /// may pass over it.
    #[inline]
    pub(crate) fn try_take(&self, buffer: &mut Buffer, patient: bool) -> Result<Taken<'_>, Stop> {
        let claimed = match self.claim_read(patient, self.me()?) {
            Err(Stop::Level) => self.claim_last(patient)?,
            claimed => claimed?,
        };
        let claim = match claimed {
            Claimed::Number(number) => return Ok(Taken::Number(number)),
            Claimed::Slot(claim) => claim,
        };
        let geometry = &self.segment.geometry;
        match Meta::from_word(claim.head.meta.load(Relaxed), geometry) {
            Some(Meta::Inline(len)) => {
                // SAFETY: the slot is ours; `from_word` has checked the length.
                unsafe { buffer.fill(claim.payload, len) };
                self.free_slot(&claim);
                Ok(Taken::Inline)
            }
            Some(Meta::Block(id)) => {
                let block = Block::detach(self, id, &claim);
                self.free_slot(&claim);
                block.map(Taken::Block)
            }
            None => {
                self.free_slot(&claim);
                Err(self.quarantine())
            }
        }
    }

    /// An empty queue may be a closed one; then nothing can come any more, and one last look decides.
    pub(crate) fn claim_last(&self, patient: bool) -> Result<Claimed<'_>, Stop> {
        let items = &self.segment.header().items;
        let mut state = items.load(Acquire);
        if state & (CLOSING | CLOSED) == CLOSING {
            self.close();
            state = items.load(Acquire);
        }
        if state & CLOSED == 0 {
            return Err(Stop::Level);
        }
        self.claim_read(patient, self.me()?).map_err(|stop| if stop == Stop::Level { Stop::Closed } else { stop })
    }

    // ---------------------------------------------------------------------------------------------- looking

    /// How many messages there are: exactly, while nobody is putting or getting.
    pub(crate) fn len(&self) -> usize {
        let header = self.segment.header();
        let ring = self.segment.geometry.ring;
        let reserved = self.refresh_reserved();
        let mut position = header.head.load(Relaxed);
        let mut messages = 0;
        for _ in 0..self.step_limit() {
            let Some((lap, slot)) = ring.split(position).filter(|(_, slot)| *slot < reserved) else { break };
            let word = SlotWord(self.segment.word(slot).load(Relaxed));
            match (word.laps_ahead_of(lap), word.phase()) {
                (0, Phase::Ready) => messages += 1,
                (0, Phase::Writing | Phase::Reading) => {}
                (1.., _) => {
                    position = ring.after(previous_lap(word.lap()), slot);
                    continue;
                }
                (_, _) => break,
            }
            position = ring.after(lap, slot);
        }
        messages.min(ring.capacity as usize)
    }

    pub(crate) fn is_empty(&self) -> bool {
        let header = self.segment.header();
        let ring = self.segment.geometry.ring;
        let reserved = self.refresh_reserved();
        let mut position = header.head.load(Relaxed);
        for _ in 0..self.step_limit() {
            let Some((lap, slot)) = ring.split(position).filter(|(_, slot)| *slot < reserved) else { return true };
            let word = SlotWord(self.segment.word(slot).load(Acquire));
            match (word.laps_ahead_of(lap), word.phase()) {
                (0, Phase::Ready) => return false,
                (0, Phase::Writing | Phase::Reading) => position = ring.after(lap, slot),
                (1.., _) => position = ring.after(previous_lap(word.lap()), slot),
                (_, _) => return true,
            }
        }
        true
    }

    /// Whether a put would have to wait, and why. What the dead hold counts as long as nobody has looked at it.
    pub(crate) fn look_for_room(&self) -> Result<(), Stop> {
        self.me()?;
        let ring = self.segment.geometry.ring;
        let mut position = self.segment.header().tail.load(Relaxed);
        for _ in 0..self.step_limit() {
            let Some((claim, word)) = self.slot_at(position) else {
                let (_, slot) = ring.split(position).ok_or_else(|| self.quarantine())?;
                if slot >= self.refresh_reserved() {
                    return Ok(());
                }
                continue;
            };
            match (word.laps_ahead_of(claim.lap), word.phase()) {
                (0, Phase::Free) => return Ok(()),
                (0, _) => position = ring.after(claim.lap, claim.slot),
                (1.., _) => position = ring.after(previous_lap(word.lap()), claim.slot),
                (_, Phase::Writing | Phase::Reading) => return Err(Stop::Held(claim.slot, word)),
                (_, _) => return Err(Stop::Level),
            }
        }
        Err(Stop::Level)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.patiently(Side::Space, Patience::Now, |_| self.look_for_room()).is_err()
    }

    /// The first position that nobody has claimed for writing.
    pub(crate) fn claimed_up_to(&self) -> u64 {
        let ring = self.segment.geometry.ring;
        let mut position = self.segment.header().tail.load(Relaxed);
        for _ in 0..self.step_limit() {
            let Some((lap, slot)) = ring.split(position).filter(|(_, slot)| *slot < self.refresh_reserved()) else {
                break;
            };
            let word = SlotWord(self.segment.word(slot).load(Acquire));
            match word.laps_ahead_of(lap) {
                0 if word.phase() == Phase::Free => break,
                0 => position = ring.after(lap, slot),
                1.. => position = ring.after(previous_lap(word.lap()), slot),
                _ => break,
            }
        }
        position
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let me = self.me.load(Relaxed);
        // In a forked child that never used the queue, the entry is the parent's.
        if me >> 32 == u64::from(barrier::forks()) {
            self.participants().leave(Owner(me as u16), ProcessId::current());
        }
    }
}
