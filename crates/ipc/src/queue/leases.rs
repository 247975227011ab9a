//! Items on loan: what `JoinableQueue` adds to the ring.
//!
//! An item leaves the ring by becoming a leased block, still while its slot is *reading*: so at any moment it is in one
//! place or the other, or in both. A lease whose taker died becomes an orphan, which the next getter takes over, or a
//! dead letter if that happened too often. Nothing ever goes back into the ring, so who looks at the ring first and at
//! the blocks after it misses nothing. The one rule against duplicates: a lease is taken over only after the slot that
//! it came from has gone on.
//!
//! # Safety
//! Copies a claimed slot's payload into a block that this process holds.
#![allow(unsafe_code)]

use std::sync::{
    Arc,
    atomic::Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use proc_core::futex::{self, Deadline};

use super::{
    barrier,
    blocks::Block,
    events::Patience,
    layout::{BlockId, Meta},
    protocol::{CLOSED, Claim, Claimed, Ring, SLEEPERS, Side, Stop},
    ring::Raw,
    segment::BlockMemory,
    word::{BlockState, Owner, Phase, SlotWord},
};

/// How often somebody looks whether the holders of leases live, if anybody waits: milliseconds.
const LEASES_EVERY_MS: u64 = 15;
/// How often a joiner that sleeps looks for itself.
const JOINER_RECHECK: std::time::Duration = std::time::Duration::from_millis(20);
/// Who has a slot that its claimant could not empty.
const NOBODY: Owner = Owner(0);
/// A busy getter looks at the clock once in so many items.
const LOOK_EVERY: u32 = 64;

/// An item in the hands of this process: done with, or given back when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    raw: Arc<Raw>,
    id: BlockId,
    word: u64,
    len: usize,
    deliveries: u8,
    forks: u32,
}

impl Lease {
    pub(crate) fn deliveries(&self) -> u8 {
        self.deliveries
    }

    /// A copy of the item's bytes.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, Stop> {
        self.raw.copy_of(self.id, self.len)
    }

    /// The item is done with.
    pub(crate) fn done(mut self) {
        self.end(|raw, id, word| raw.finish(id, word));
    }

    fn end(&mut self, how: impl FnOnce(&Raw, BlockId, u64)) {
        // A forked child has copies of its parent's items, which are the parent's.
        if self.forks == barrier::forks() {
            self.forks = u32::MAX;
            how(&self.raw, self.id, self.word);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let deliveries = self.deliveries;
        self.end(|raw, id, word| {
            raw.abandon(id, word, deliveries);
        });
    }
}

/// A block for an item that lies in its slot, ready to be written.
struct Spare<'a> {
    block: Block<'a>,
    memory: BlockMemory,
}

impl<'a> Spare<'a> {
    fn take(raw: &'a Raw) -> Result<Self, Stop> {
        let block = Block::take(raw, raw.segment.geometry.inline())?;
        let memory = block.memory()?;
        Ok(Self { block, memory })
    }
}

impl Raw {
    /// Takes the next item, orphans first.
    pub(crate) fn try_lease(self: &Arc<Self>, patient: bool) -> Result<Lease, Stop> {
        let header = self.segment.header();
        if header.orphans.load(Relaxed) != 0
            && let Some(lease) = self.adopt()?
        {
            return Ok(lease);
        }
        if self.leases_taken.fetch_add(1, Relaxed).is_multiple_of(LOOK_EVERY) {
            self.seek_orphans();
        }
        let lease = self.try_lease_fresh(patient);
        if lease.is_err() && header.items.load(Acquire) & CLOSED != 0 {
            self.seek_orphans_now();
            if let Some(lease) = self.adopt()? {
                return Ok(lease);
            }
        }
        lease
    }

    fn try_lease_fresh(self: &Arc<Self>, patient: bool) -> Result<Lease, Stop> {
        // Held before the claim: with a slot in hand there must be nothing left that can fail.
        let mut spare = if self.is_empty() { None } else { Some(Spare::take(self)?) };
        let claimed = match self.claim_read(patient, self.me()?) {
            Err(Stop::Level) => self.claim_last(patient)?,
            claimed => claimed?,
        };
        // Numbers outside of blocks are not put into a queue that leases.
        let Claimed::Slot(claim) = claimed else { return Err(self.quarantine()) };
        if spare.is_none() {
            spare = Some(Spare::take(self).inspect_err(|_| self.unclaim(&claim))?);
        }
        let holder = self.holder()?;
        let state = BlockState::Leased { to: holder, deliveries: 1 };
        let id = self.move_out(&claim, spare, state)?;
        let len = usize::try_from(self.segment.record(id).len.load(Relaxed)).unwrap_or(usize::MAX);
        self.free_slot(&claim);
        if !self.is_plausible(id, len) {
            return Err(self.quarantine());
        }
        Ok(self.lease(id, state.to_word(), len, 1))
    }

    fn lease(self: &Arc<Self>, id: BlockId, word: u64, len: usize, deliveries: u8) -> Lease {
        Lease { raw: self.clone(), id, word, len, deliveries, forks: barrier::forks() }
    }

    /// A claimed slot goes into the hands of nobody, which is as good as a dead owner's: the next getter rescues it.
    fn unclaim(&self, claim: &Claim<'_>) {
        claim.head.word.store(SlotWord::reading(claim.lap, NOBODY).0, Release);
        self.segment.header().orphans.store(1, Release);
    }

    /// Makes orphans of the items that somebody had claimed and could not take for want of memory.
    fn rescue_unclaimed(&self) {
        for slot in 0..self.slots_in_use() {
            let word = SlotWord(self.segment.word(slot).load(Acquire));
            if word.phase() == Phase::Reading && word.owner() == NOBODY {
                self.rescue(slot, word);
            }
        }
    }

    /// Makes a block in `state` of the message in a claimed slot; `spare` is for one that lies in the slot itself.
    fn move_out(&self, claim: &Claim<'_>, spare: Option<Spare<'_>>, state: BlockState) -> Result<BlockId, Stop> {
        let origin = self.segment.geometry.ring.join(claim.lap, claim.slot).wrapping_add(1);
        match Meta::from_word(claim.head.meta.load(Relaxed), &self.segment.geometry) {
            Some(Meta::Block(id)) => {
                let record = self.segment.record(id);
                record.origin.store(origin, Relaxed);
                let attached = BlockState::attached(claim.slot, claim.lap).to_word();
                match record.word.compare_exchange(attached, state.to_word(), AcqRel, Relaxed) {
                    Ok(_) => Ok(id),
                    Err(_) => {
                        self.free_slot(claim);
                        Err(self.quarantine())
                    }
                }
            }
            Some(Meta::Inline(len)) => {
                let Some(Spare { mut block, memory }) = spare else { return Err(Stop::Level) };
                block.truncate(len);
                // SAFETY: the slot and the block are ours, and both hold `len` bytes.
                unsafe {
                    std::ptr::copy_nonoverlapping(claim.payload.as_ptr(), memory.start.as_ptr(), len);
                }
                let record = self.segment.record(block.id());
                record.origin.store(origin, Relaxed);
                record.word.store(state.to_word(), Release);
                block.given_away();
                Ok(block.id())
            }
            None => {
                self.free_slot(claim);
                Err(self.quarantine())
            }
        }
    }

    /// Takes over an item that lost its taker.
    fn adopt(self: &Arc<Self>) -> Result<Option<Lease>, Stop> {
        let orphans = &self.segment.header().orphans;
        let to = self.holder()?;
        // Before the look: whoever makes an orphan after it sets the hint again.
        orphans.store(0, Relaxed);
        barrier::heavy();
        self.rescue_unclaimed();
        for id in self.blocks() {
            let record = self.segment.record(id);
            let word = record.word.load(Acquire);
            let BlockState::Orphan { deliveries } = BlockState::from_word(word) else { continue };
            if deliveries >= self.max_deliveries {
                let dead = BlockState::DeadLetter { deliveries };
                if record.word.compare_exchange(word, dead.to_word(), AcqRel, Relaxed).is_ok() {
                    self.announce_done();
                }
                continue;
            }
            let state = BlockState::Leased { to, deliveries: deliveries + 1 };
            if record.word.compare_exchange(word, state.to_word(), AcqRel, Relaxed).is_ok() {
                // There may be more.
                orphans.store(1, Relaxed);
                let len = usize::try_from(record.len.load(Relaxed)).unwrap_or(usize::MAX);
                if !self.is_plausible(id, len) {
                    return Err(self.quarantine());
                }
                return Ok(Some(self.lease(id, state.to_word(), len, deliveries + 1)));
            }
        }
        Ok(None)
    }

    /// The end of an item: this compare-and-swap.
    fn finish(&self, id: BlockId, word: u64) {
        let Ok(holder) = self.holder() else { return };
        let held = BlockState::Held(holder).to_word();
        if self.segment.record(id).word.compare_exchange(word, held, AcqRel, Relaxed).is_ok() {
            self.free_block(id);
            self.announce_done();
        }
    }

    /// Gives a leased item to the next getter.
    fn abandon(&self, id: BlockId, word: u64, deliveries: u8) -> bool {
        let orphan = BlockState::Orphan { deliveries }.to_word();
        let given = self.segment.record(id).word.compare_exchange(word, orphan, AcqRel, Relaxed).is_ok();
        if given {
            self.announce_orphan();
        }
        given
    }

    fn announce_orphan(&self) {
        let header = self.segment.header();
        header.orphans.store(1, Release);
        barrier::light();
        self.wake_one(Side::Items);
    }

    fn announce_done(&self) {
        barrier::light();
        let done = &self.segment.header().done;
        // Only the last one done has something to say; a joiner looks for itself now and then.
        if done.load(Relaxed) & SLEEPERS != 0 && self.is_empty() {
            done.fetch_and(!SLEEPERS, AcqRel);
            self.wake_all(done);
        }
    }

    /// Takes a slot whose reader died, and makes an orphan of its item, unless it is a lease already.
    pub(super) fn rescue(&self, slot: u32, word: SlotWord) {
        let Ok(me) = self.me() else { return };
        let lap = word.lap();
        let origin = self.segment.geometry.ring.join(lap, slot).wrapping_add(1);
        let spare = Spare::take(self).ok();
        let claimed = SlotWord::reading(lap, me);
        if self.segment.word(slot).compare_exchange(word.0, claimed.0, AcqRel, Relaxed).is_err() {
            return;
        }
        let Some((claim, _)) = self.slot_at(origin.wrapping_sub(1)) else { return };
        let moved = self.blocks().any(|id| {
            let record = self.segment.record(id);
            let state = BlockState::from_word(record.word.load(Acquire));
            matches!(state, BlockState::Leased { .. } | BlockState::Orphan { .. })
                && record.origin.load(Relaxed) == origin
        });
        if !moved {
            match self.move_out(&claim, spare, BlockState::Orphan { deliveries: 0 }) {
                Ok(_) => {}
                // No block for it now: somebody will try again.
                Err(Stop::Level) => return self.unclaim(&claim),
                Err(_) => return,
            }
        }
        self.free_slot(&claim);
        self.announce_orphan();
    }

    /// Makes an orphan of a dead process's lease. False if the slot that it came from has not gone on: whoever is
    /// rescuing that slot must still find the lease.
    pub(super) fn orphan(&self, id: BlockId, word: u64, deliveries: u8) -> bool {
        let origin = self.segment.record(id).origin.load(Relaxed).wrapping_sub(1);
        if let Some((claim, word)) = self.slot_at(origin)
            && word.lap() == claim.lap
            && word.phase() == Phase::Reading
        {
            return false;
        }
        self.abandon(id, word, deliveries);
        true
    }

    /// Looks whether the holders of leases live, unless somebody did just now.
    pub(crate) fn seek_orphans(&self) {
        if self.may_look_together(&self.segment.header().last_look, LEASES_EVERY_MS) {
            self.seek_orphans_now();
        }
    }

    fn seek_orphans_now(&self) {
        let mut seen: Vec<Owner> = Vec::new();
        for id in self.blocks() {
            let to = match BlockState::from_word(self.segment.record(id).word.load(Acquire)) {
                BlockState::Leased { to, .. } => to,
                BlockState::Orphan { .. } => {
                    self.announce_orphan();
                    continue;
                }
                _ => continue,
            };
            if seen.contains(&to.owner) || self.me() == Ok(to.owner) {
                continue;
            }
            seen.push(to.owner);
            if let Some(process) = self.participants().process(to.owner)
                && !process.is_alive()
            {
                self.sweep(to.owner, process);
            }
        }
    }

    // ---------------------------------------------------------------------------------------------- joining

    /// Waits until no item is unfinished; false if patience ended first.
    pub(crate) fn join(&self, patience: Patience) -> Result<bool, Stop> {
        let deadline = match patience {
            Patience::For(time) => Deadline::after(time),
            _ => None,
        };
        let done = &self.segment.header().done;
        loop {
            if self.is_all_done()? {
                return Ok(true);
            }
            let seen = done.fetch_or(SLEEPERS, AcqRel) | SLEEPERS;
            barrier::heavy();
            if self.is_all_done()? {
                return Ok(true);
            }
            if deadline.is_some_and(|deadline| deadline.has_passed()) || matches!(patience, Patience::Now) {
                return Ok(false);
            }
            let sleep = deadline.filter(|deadline| deadline.remaining() < JOINER_RECHECK);
            futex::wait(done, seen, sleep.or_else(|| Deadline::after(JOINER_RECHECK)));
            self.seek_orphans();
        }
    }

    /// Whether nothing is unfinished, at one moment during this call.
    fn is_all_done(&self) -> Result<bool, Stop> {
        self.me()?;
        let tail = self.claimed_up_to();
        if !self.is_empty() {
            return Ok(false);
        }
        for slot in 0..self.slots_in_use() {
            let word = SlotWord(self.segment.word(slot).load(Acquire));
            if word.phase() != Phase::Free {
                self.settle_if_dead(slot, word);
                return Ok(false);
            }
        }
        // No slot held anything at some moment up to here; if none is claimed until the blocks have been seen, then
        // no lease can have begun meanwhile, and those seen gone are gone together.
        let leased = self.blocks().any(|id| {
            let state = BlockState::from_word(self.segment.record(id).word.load(Acquire));
            matches!(state, BlockState::Leased { .. } | BlockState::Orphan { .. })
        });
        Ok(!leased && self.claimed_up_to() == tail)
    }

    /// How many items have been put and are not done with; while others are at work, some number near it.
    pub(crate) fn unfinished(&self) -> usize {
        let waiting = (0..self.slots_in_use())
            .filter(|slot| {
                let phase = SlotWord(self.segment.word(*slot).load(Acquire)).phase();
                matches!(phase, Phase::Ready | Phase::Reading)
            })
            .count();
        let leased = self.blocks().filter(|id| {
            let state = BlockState::from_word(self.segment.record(*id).word.load(Acquire));
            matches!(state, BlockState::Leased { .. } | BlockState::Orphan { .. })
        });
        waiting + leased.count()
    }

    /// Takes a dead letter.
    pub(crate) fn take_dead_letter(self: &Arc<Self>) -> Result<Option<Vec<u8>>, Stop> {
        let held = BlockState::Held(self.holder()?).to_word();
        for id in self.blocks() {
            let record = self.segment.record(id);
            let word = record.word.load(Acquire);
            if !matches!(BlockState::from_word(word), BlockState::DeadLetter { .. }) {
                continue;
            }
            if record.word.compare_exchange(word, held, AcqRel, Relaxed).is_ok() {
                let len = usize::try_from(record.len.load(Relaxed)).unwrap_or(usize::MAX);
                let bytes = if self.is_plausible(id, len) { self.copy_of(id, len) } else { Err(self.quarantine()) };
                self.free_block(id);
                return bytes.map(Some);
            }
        }
        Ok(None)
    }
}
