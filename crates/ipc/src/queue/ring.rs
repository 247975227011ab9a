//! The ring: claims of slots, and what is done while one holds them. The protocol is in README.md.
//!
//! # Safety
//! A slot's payload is written only between a claim for writing and its publication, read only between a claim for
//! reading and its release; lengths are checked against the slot's before they are used.
#![allow(unsafe_code)]

use std::{
    io,
    ptr::NonNull,
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
        fence,
    },
};

use proc_core::identity::ProcessId;

use super::{
    barrier,
    blocks::Block,
    codec::Buffer,
    events::{CLOSED, CLOSING, Patience, SLEEPERS, Side, Spin},
    layout::{Header, Line, Meta, SlotHead},
    participants::Participants,
    segment::Segment,
    word::{BlockState, Holder, Owner, Phase, SlotWord, next_lap, previous_lap},
};

/// How far a getter looks past slots whose writers are slow.
const LOOK_AHEAD: u32 = 64;
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
}

/// Why an operation did not go ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Full for a put, empty for a get.
    Level,
    /// The slot whose turn it is belongs to another process at this moment.
    Held(u32, SlotWord),
    Closed,
    Damaged,
    System(io::ErrorKind),
}

impl From<io::Error> for Stop {
    fn from(e: io::Error) -> Self {
        Self::System(e.kind())
    }
}

/// A slot that this process owns, or is about to, for one lap.
#[derive(Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub(crate) head: &'a SlotHead,
    pub(crate) payload: NonNull<u8>,
    pub(crate) lap: u64,
    pub(crate) slot: u32,
}

impl Claim<'_> {
    /// Moves the slot's word on, if it is still what it was.
    #[inline]
    fn advance(&self, from: SlotWord, to: SlotWord) -> bool {
        // Acquire: what the former owner did with the payload is done.
        self.head.word.compare_exchange(from.0, to.0, Acquire, Relaxed).is_ok()
    }

    /// Takes the number of a slot that was found ready, unless somebody else does: looked at first, then claimed and
    /// given up in one step. A word does not repeat, so what was looked at is what was claimed.
    #[inline]
    fn take_number(&self, ready: SlotWord) -> Option<u64> {
        let number = self.head.meta.load(Relaxed);
        let free = SlotWord::free(next_lap(self.lap)).0;
        // Release: the look at the number comes before whatever the next putter does with the slot.
        self.head.word.compare_exchange(ready.0, free, AcqRel, Relaxed).is_ok().then_some(number)
    }
}

/// A message that is this process's, and maybe still in the ring.
pub(crate) enum Claimed<'a> {
    /// It is this number.
    Number(u64),
    Slot(Claim<'a>),
}

/// A message that has left the ring.
#[derive(Debug)]
pub(crate) enum Taken<'a> {
    Number(u64),
    /// It is in the buffer that was handed in.
    Inline,
    Block(Block<'a>),
}

/// A message that a slot holds.
pub(crate) trait Short {
    /// Writes it into a slot that is ours; says what the slot's word becomes.
    fn write(&self, claim: &Claim<'_>) -> SlotWord;
}

impl Short for u64 {
    #[inline(always)]
    fn write(&self, claim: &Claim<'_>) -> SlotWord {
        claim.head.meta.store(*self, Relaxed);
        SlotWord::ready_number(claim.lap)
    }
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

impl Raw {
    pub(crate) fn new(segment: Segment) -> io::Result<Self> {
        barrier::register();
        let leases = segment.header().leases.load(Relaxed) == 1;
        let max_deliveries = segment.header().max_deliveries.load(Relaxed).clamp(1, 255) as u8;
        let spin = [Spin::new(), Spin::new()];
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

    /// Nothing that this handle reads from the queue's memory is believed any more.
    #[cold]
    pub(crate) fn quarantine(&self) -> Stop {
        self.me.store(QUARANTINED, Relaxed);
        Stop::Damaged
    }

    // ---------------------------------------------------------------------------------------------- writing

    /// Puts a short message if nothing at all stands in the way; false if something does, and nothing has been done.
    #[inline(always)]
    pub(crate) fn put_at_once<M: Short + ?Sized>(&self, message: &M) -> Result<bool, Stop> {
        let Some((claim, header, word, me)) = self.next_slot(|header| &header.tail) else { return Ok(false) };
        if header.items.load(Relaxed) & (CLOSING | CLOSED) != 0
            || word != SlotWord::free(claim.lap)
            || !claim.advance(word, SlotWord::writing(claim.lap, me))
        {
            return Ok(false);
        }
        header.tail.store(self.segment.geometry.ring.after(claim.lap, claim.slot), Relaxed);
        let ready = message.write(&claim);
        self.publish(&claim, ready)?;
        Ok(true)
    }

    /// Takes a number if nothing at all stands in the way.
    #[inline(always)]
    pub(crate) fn take_number_at_once(&self) -> Option<u64> {
        let (claim, header, word, _) = self.next_slot(|header| &header.head)?;
        if word != SlotWord::ready_number(claim.lap) {
            return None;
        }
        let number = claim.take_number(word)?;
        header.head.store(self.segment.geometry.ring.after(claim.lap, claim.slot), Relaxed);
        self.slot_is_free();
        Some(number)
    }

    /// Takes a short message into `buffer` if nothing at all stands in the way; false if something does.
    #[inline(always)]
    pub(crate) fn take_at_once(&self, buffer: &mut Buffer) -> bool {
        let Some((claim, header, word, me)) = self.next_slot(|header| &header.head) else { return false };
        if word != SlotWord::ready(claim.lap) {
            return false;
        }
        let Some(len) = Meta::inline(claim.head.meta.load(Relaxed), &self.segment.geometry) else { return false };
        if !claim.advance(word, SlotWord::reading(claim.lap, me)) {
            return false;
        }
        header.head.store(self.segment.geometry.ring.after(claim.lap, claim.slot), Relaxed);
        // SAFETY: the slot is ours; `inline` has checked the length.
        unsafe { buffer.fill(claim.payload, len) };
        self.free_slot(&claim);
        true
    }

    /// The slot that a hint points at, if that is beyond question.
    #[inline(always)]
    fn next_slot(
        &self,
        hint: impl FnOnce(&Header) -> &Line<AtomicU64>,
    ) -> Option<(Claim<'_>, &Header, SlotWord, Owner)> {
        let me = self.me.load(Relaxed);
        let header = self.segment.header();
        let (claim, word) = self.slot_at(hint(header).load(Relaxed))?;
        (me >> 32 == u64::from(barrier::forks())).then_some((claim, header, word, Owner(me as u16)))
    }

    /// Puts a short message, or says why not.
    pub(crate) fn try_put<M: Short + ?Sized>(&self, message: &M) -> Result<(), Stop> {
        let claim = self.claim_write()?;
        let ready = message.write(&claim);
        self.publish(&claim, ready)
    }

    /// Puts a message that lies in a block; the block is the queue's from then on.
    pub(crate) fn try_put_block(&self, block: &mut Block<'_>) -> Result<(), Stop> {
        let claim = self.claim_write()?;
        claim.head.meta.store(Meta::Block(block.id()).to_word(), Relaxed);
        let attached = BlockState::attached(claim.slot, claim.lap).to_word();
        self.segment.record(block.id()).word.store(attached, Release);
        self.publish(&claim, SlotWord::ready(claim.lap))?;
        block.given_away();
        Ok(())
    }

    /// Claims the next slot for writing.
    #[inline]
    fn claim_write(&self) -> Result<Claim<'_>, Stop> {
        let me = self.me()?;
        let header = self.segment.header();
        if header.items.load(Relaxed) & (CLOSING | CLOSED) != 0 {
            return Err(Stop::Closed);
        }
        let position = header.tail.load(Relaxed);
        match self.slot_at(position) {
            Some((claim, word))
                if word == SlotWord::free(claim.lap) && claim.advance(word, SlotWord::writing(claim.lap, me)) =>
            {
                header.tail.store(self.segment.geometry.ring.after(claim.lap, claim.slot), Relaxed);
                Ok(claim)
            }
            _ => self.seek_write(position, me),
        }
    }

    /// The same where the hint was not up to date, or another putter was faster, or the queue is full.
    #[cold]
    fn seek_write(&self, mut position: u64, me: Owner) -> Result<Claim<'_>, Stop> {
        let header = self.segment.header();
        let ring = self.segment.geometry.ring;
        // Honest memory needs few steps; the limit is for the other kind.
        for _ in 0..self.step_limit() {
            let Some((claim, word)) = self.slot_at(position) else {
                let (_, slot) = ring.split(position).ok_or_else(|| self.quarantine())?;
                self.reserve_slots(slot)?;
                continue;
            };
            match (word.laps_ahead_of(claim.lap), word.phase()) {
                (_, Phase::Invalid) => return Err(self.quarantine()),
                (0, Phase::Free) => {
                    if claim.advance(word, SlotWord::writing(claim.lap, me)) {
                        header.tail.store(ring.after(claim.lap, claim.slot), Relaxed);
                        return Ok(claim);
                    }
                    position = ring.after(claim.lap, claim.slot);
                }
                (0, _) => position = ring.after(claim.lap, claim.slot),
                (1.., _) => position = ring.after(previous_lap(word.lap()), claim.slot),
                (_, Phase::Writing | Phase::Reading) => return Err(Stop::Held(claim.slot, word)),
                (_, _) => return Err(Stop::Level),
            }
        }
        Err(Stop::Level)
    }

    /// The slot of a position and its word; `None` if there is no such slot, or no memory behind it yet.
    #[inline(always)]
    pub(crate) fn slot_at(&self, position: u64) -> Option<(Claim<'_>, SlotWord)> {
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

    /// Makes a claimed slot's message everybody's; `Closed` if the queue was closed meanwhile and nobody took it.
    #[inline]
    fn publish(&self, claim: &Claim<'_>, ready: SlotWord) -> Result<(), Stop> {
        claim.head.word.store(ready.0, Release);
        barrier::light();
        let items = self.segment.header().items.load(Relaxed);
        if items & (SLEEPERS | CLOSING | CLOSED) == 0 { Ok(()) } else { self.published(claim, ready, items) }
    }

    #[cold]
    fn published(&self, claim: &Claim<'_>, ready: SlotWord, items: u32) -> Result<(), Stop> {
        if items & (CLOSING | CLOSED) != 0 {
            // Whoever finds the queue closed and empty never comes back: take the message out again, if it is there.
            let Some(taken) = self.claim_ready(*claim, ready, self.me()?) else { return Ok(()) };
            if let Claimed::Slot(claim) = taken {
                let meta = Meta::from_word(claim.head.meta.load(Relaxed), &self.segment.geometry);
                if let (Some(Meta::Block(id)), Ok(holder)) = (meta, self.holder()) {
                    self.segment.record(id).word.store(BlockState::Held(holder).to_word(), Relaxed);
                }
                self.free_slot(&claim);
            }
            return Err(Stop::Closed);
        }
        self.wake_one(&self.segment.header().items);
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

    fn step_limit(&self) -> u32 {
        self.segment.geometry.ring.capacity.saturating_mul(4).saturating_add(64)
    }

    // ---------------------------------------------------------------------------------------------- reading

    /// Takes the next message out of the ring, or says why not. A `patient` getter has waited for a slow writer, and
    /// may pass over it.
    #[inline]
    pub(crate) fn try_take(&self, buffer: &mut Buffer, patient: bool) -> Result<Taken<'_>, Stop> {
        let claimed = match self.claim_read(patient) {
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

    /// Claims the next message for reading.
    #[inline]
    pub(crate) fn claim_read(&self, patient: bool) -> Result<Claimed<'_>, Stop> {
        let me = self.me()?;
        let position = self.segment.header().head.load(Relaxed);
        match self.slot_at(position) {
            Some((claim, word)) if word == SlotWord::free(claim.lap) => Err(Stop::Level),
            _ => self.seek_read(position, me, patient),
        }
    }

    /// Claims the message of a slot that was found ready, if nobody else has: a number leaves its slot at once.
    fn claim_ready<'a>(&self, claim: Claim<'a>, word: SlotWord, me: Owner) -> Option<Claimed<'a>> {
        if word.is_number() {
            let number = claim.take_number(word)?;
            self.slot_is_free();
            return Some(Claimed::Number(number));
        }
        claim.advance(word, SlotWord::reading(claim.lap, me)).then_some(Claimed::Slot(claim))
    }

    /// The same where the hint was not up to date, or another getter was faster, or nothing is ready.
    #[cold]
    fn seek_read(&self, first: u64, me: Owner, patient: bool) -> Result<Claimed<'_>, Stop> {
        let header = self.segment.header();
        let ring = self.segment.geometry.ring;
        let mut position = first;
        let mut stop = Stop::Level;
        for _ in 0..self.step_limit() {
            let Some((claim, word)) = self.slot_at(position) else {
                let (_, slot) = ring.split(position).ok_or_else(|| self.quarantine())?;
                if slot >= self.refresh_reserved() {
                    break;
                }
                continue;
            };
            match (word.laps_ahead_of(claim.lap), word.phase()) {
                (_, Phase::Invalid) => return Err(self.quarantine()),
                (0, Phase::Ready) => {
                    if let Some(claimed) = self.claim_ready(claim, word, me) {
                        header.head.store(ring.after(claim.lap, claim.slot), Relaxed);
                        return Ok(claimed);
                    }
                }
                (0, Phase::Reading) => position = ring.after(claim.lap, claim.slot),
                (1.., _) => position = ring.after(previous_lap(word.lap()), claim.slot),
                (0, Phase::Writing) => {
                    stop = Stop::Held(claim.slot, word);
                    if patient && let Some(claimed) = self.claim_beyond(position, me) {
                        return Ok(claimed);
                    }
                    break;
                }
                (_, _) => break,
            }
        }
        if position != first {
            header.head.store(position, Relaxed);
        }
        Err(stop)
    }

    /// Claims a message behind slots whose writers are slow. They have not put theirs yet, so nothing is overtaken.
    fn claim_beyond(&self, from: u64, me: Owner) -> Option<Claimed<'_>> {
        let ring = self.segment.geometry.ring;
        self.refresh_reserved();
        let mut position = from;
        for _ in 0..LOOK_AHEAD.min(ring.capacity - 1) {
            let (lap, slot) = ring.split(position)?;
            position = ring.after(lap, slot);
            let (claim, word) = self.slot_at(position)?;
            if word.is_ready(claim.lap) {
                // What became ready before this one must be taken before it.
                fence(Acquire);
                if self.any_ready_between(from, position) {
                    return None;
                }
                if let Some(claimed) = self.claim_ready(claim, word, me) {
                    return Some(claimed);
                }
            } else if word.laps_ahead_of(claim.lap) < 0 || word == SlotWord::free(claim.lap) {
                return None;
            }
        }
        None
    }

    fn any_ready_between(&self, from: u64, to: u64) -> bool {
        let ring = self.segment.geometry.ring;
        let mut position = from;
        while position != to {
            let Some((lap, slot)) = ring.split(position) else { return false };
            if SlotWord(self.segment.word(slot).load(Acquire)).is_ready(lap) {
                return true;
            }
            position = ring.after(lap, slot);
        }
        false
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
        self.claim_read(patient).map_err(|stop| if stop == Stop::Level { Stop::Closed } else { stop })
    }

    /// Gives a slot that was read to the next lap.
    #[inline]
    pub(crate) fn free_slot(&self, claim: &Claim<'_>) {
        claim.head.word.store(SlotWord::free(next_lap(claim.lap)).0, Release);
        self.slot_is_free();
    }

    /// Wakes a putter that sleeps, after a slot has become free.
    #[inline]
    fn slot_is_free(&self) {
        barrier::light();
        let space = &self.segment.header().space;
        if space.load(Relaxed) & SLEEPERS != 0 {
            self.wake_one(space);
        }
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
