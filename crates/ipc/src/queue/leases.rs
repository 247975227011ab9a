//! Items on loan: what `JoinableQueue` adds to the ring.
//!
//! An item always lies in a block. When it is taken from the ring, its block becomes a lease of its taker's, by the same
//! two steps by which blocks of other queues pass to theirs: so it is in the ring or leased, or the slot that it was in
//! names its taker. A lease whose taker died becomes an orphan, which the next getter takes over, or a dead letter if that
//! happened too often. It stays in its block all the time, and nothing ever goes back into the ring: a look at the ring
//! first and at the blocks after it misses nothing. The steps themselves are in `leasing.rs`.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicU32,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    time::Instant,
};

use kernel::futex::{self, Deadline};

use super::{
    barrier,
    content::Content,
    custody::Custody,
    leasing::{Leased, Leasing},
    patience::Patience,
    raw::Raw,
    ring::{Dequeue, Locate, Ring, Side, Stop},
    store::Key,
    word::{BlockId, BlockState, Kind, Owner},
};

/// How often waiters look whether the holders of leases live: milliseconds.
const LEASES_EVERY_MS: u64 = 15;
/// A look at very many items takes long, and so is rarer: that many times as long lies between two looks.
const BETWEEN_LOOKS: u64 = 30;
/// How often a joiner that sleeps looks for itself.
const JOINER_RECHECK: std::time::Duration = std::time::Duration::from_millis(20);
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

    /// A copy of the item.
    fn content(&self, key: Option<&Key<'_>>) -> Result<Content, Stop> {
        self.raw.content(self.id, self.len, key)
    }

    /// The item is done with.
    pub(crate) fn done(mut self) {
        self.end(|raw, id, word| {
            if let Ok(me) = raw.me() {
                raw.finish(id, word, me);
            }
        });
    }

    /// No getter can do anything with the item: it becomes a dead letter.
    pub(crate) fn give_up(mut self) {
        let deliveries = self.deliveries;
        self.end(|raw, id, word| raw.move_to_dead_letters(id, word, deliveries));
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
        self.end(|raw, id, word| raw.abandon(id, word, deliveries));
    }
}

impl Leasing for Raw {
    fn orphans(&self) -> &AtomicU32 {
        &self.segment.header().orphans
    }

    fn done(&self) -> &AtomicU32 {
        &self.segment.header().done
    }

    fn max_deliveries(&self) -> u8 {
        self.max_deliveries
    }

    fn all_blocks(&self) -> Result<impl Iterator<Item = BlockId>, Stop> {
        self.blocks()
    }

    fn swap_state(&self, block: BlockId, from: u64, to: BlockState) -> bool {
        self.segment.record(block).state.first.compare_exchange(from, to.to_word(), AcqRel, Relaxed).is_ok()
    }

    fn free_finished(&self, block: BlockId) {
        self.free_done(block);
    }
}

impl Raw {
    /// Takes the next item, and copies what it is. For handles their store is entered before anything is leased.
    pub(crate) fn take_lease(self: &Arc<Self>, patience: Patience) -> Result<(Lease, Content), Stop> {
        if self.store.is_none() {
            let lease = self.patiently(Side::Items, patience, || self.try_lease())?;
            let content = lease.content(None)?;
            return Ok((lease, content));
        }
        let deadline = patience.deadline();
        let is_there = || if self.is_ready(Side::Items) { Ok(()) } else { Err(Stop::WouldBlock) };
        loop {
            self.patiently(Side::Items, patience.left(deadline), is_there)?;
            let key = self.store_key(patience.left(deadline))?;
            match self.try_lease() {
                Err(Stop::WouldBlock) => {}
                lease => {
                    let lease = lease?;
                    let content = lease.content(key.as_ref())?;
                    return Ok((lease, content));
                }
            }
        }
    }

    /// Takes the next item, orphans first.
    pub(crate) fn try_lease(self: &Arc<Self>) -> Result<Lease, Stop> {
        let header = self.segment.header();
        if header.orphans.load(Relaxed) != 0
            && let Some(lease) = self.adopt_lease()?
        {
            return Ok(lease);
        }
        if self.leases_taken.fetch_add(1, Relaxed).is_multiple_of(LOOK_EVERY) {
            self.seek_orphans();
        }
        let lease = self.try_lease_fresh();
        if matches!(lease, Err(Stop::Closed)) {
            self.seek_orphans_now();
            if let Some(lease) = self.adopt_lease()? {
                return Ok(lease);
            }
        }
        lease
    }

    fn try_lease_fresh(self: &Arc<Self>) -> Result<Lease, Stop> {
        let me = self.me()?;
        loop {
            let spot = self.next()?;
            let Some((kind, payload)) = self.whole(&spot) else { continue };
            // What is not in a block is not put into a queue that leases.
            if kind != Some(Kind::Block) {
                return Err(self.quarantine());
            }
            self.reach(BlockId::from_bits(payload))?;
            let Some(id) = self.take_from_ring(&spot, payload, me) else { continue };
            let word = self.segment.record(id).state.first.load(Acquire);
            if word != (BlockState::Leased { to: me, deliveries: 1 }).to_word() {
                return Err(self.quarantine());
            }
            return Ok(self.lease(id, word, self.len_of(id)?, 1));
        }
    }

    /// Takes over an item that lost its taker.
    fn adopt_lease(self: &Arc<Self>) -> Result<Option<Lease>, Stop> {
        let Some(Leased { block, word, deliveries }) = self.adopt(self.me()?)? else { return Ok(None) };
        Ok(Some(self.lease(block, word, self.len_of(block)?, deliveries)))
    }

    fn lease(self: &Arc<Self>, id: BlockId, word: u64, len: usize, deliveries: u8) -> Lease {
        Lease { raw: self.clone(), id, word, len, deliveries, forks: barrier::forks() }
    }

    /// Looks whether the holders of leases live, unless another user of the queue did just now.
    pub(crate) fn seek_orphans(&self) {
        let look_ms = self.look_ms.load(Relaxed);
        if self.may_look_together(&self.segment.header().last_look, LEASES_EVERY_MS.max(look_ms * BETWEEN_LOOKS)) {
            let begun = Instant::now();
            self.seek_orphans_now();
            self.look_ms.store(begun.elapsed().as_millis() as u64, Relaxed);
        }
    }

    fn seek_orphans_now(&self) {
        let Ok(blocks) = self.blocks() else { return };
        let mut seen: Vec<Owner> = Vec::new();
        for id in blocks {
            let owner = match self.leased_state(id) {
                BlockState::Leased { to, .. } => to.owner,
                BlockState::Orphan { .. } => {
                    self.announce_orphan();
                    continue;
                }
                _ => continue,
            };
            if seen.contains(&owner) || self.me().is_ok_and(|me| me.owner == owner) {
                continue;
            }
            seen.push(owner);
            if let Some(participant) = self.participants().at(owner)
                && self.is_dead(participant)
            {
                self.sweep(owner, participant);
            }
        }
    }

    // ---------------------------------------------------------------------------------------------- joining

    /// Whether nothing is unfinished, at one moment during this call; an error if the memory has been found damaged.
    pub(super) fn is_all_done(&self) -> Result<bool, Stop> {
        self.check()?;
        self.has_all_done()
    }

    /// Waits until no item is unfinished; false if patience ended first.
    pub(crate) fn join(&self, patience: Patience) -> Result<bool, Stop> {
        let deadline = match patience {
            Patience::For(time) => Deadline::after(time),
            _ => None,
        };
        loop {
            if self.is_all_done()? {
                return Ok(true);
            }
            let seen = self.announce_joiner();
            if self.is_all_done()? {
                return Ok(true);
            }
            if deadline.is_some_and(|deadline| deadline.has_passed()) || matches!(patience, Patience::Now) {
                return Ok(false);
            }
            let sleep = deadline.filter(|deadline| deadline.remaining() < JOINER_RECHECK);
            futex::wait(self.done(), seen, sleep.or_else(|| Deadline::after(JOINER_RECHECK)));
            self.seek_orphans();
        }
    }

    /// How many items have been put and are not done with; while others are at work, some number near it.
    pub(crate) fn unfinished(&self) -> usize {
        self.len() + self.blocks().map_or(0, |blocks| blocks.filter(|id| self.is_unfinished(*id)).count())
    }

    /// Takes the dead letters of which `open` makes something; the others stay.
    pub(crate) fn take_dead_letters<R>(
        self: &Arc<Self>,
        mut open: impl FnMut(Content) -> Option<R>,
    ) -> Result<Vec<R>, Stop> {
        let held = BlockState::Held(self.me()?).to_word();
        let mut opened = Vec::new();
        for id in self.blocks()? {
            let state = &self.segment.record(id).state.first;
            let word = state.load(Acquire);
            if !matches!(BlockState::from_word(word), BlockState::DeadLetter { .. }) {
                continue;
            }
            let key = self.store_key(Patience::Now)?;
            if state.compare_exchange(word, held, AcqRel, Relaxed).is_err() {
                continue;
            }
            let mut letter = Letter { raw: self, id, word, is_taken: true };
            // A damaged one is not kept.
            let content = self.len_of(id).and_then(|len| self.content(id, len, key.as_ref()))?;
            letter.is_taken = false;
            // The type's own code runs now, which may use this queue.
            drop(key);
            if let Some(content) = open(content) {
                letter.is_taken = true;
                opened.push(content);
            }
        }
        Ok(opened)
    }
}

/// A dead letter in hand: gone if it was taken, else put back, also if the code that looks at it panics.
struct Letter<'a> {
    raw: &'a Raw,
    id: BlockId,
    word: u64,
    is_taken: bool,
}

impl Drop for Letter<'_> {
    fn drop(&mut self) {
        if self.is_taken {
            self.raw.free_done(self.id);
        } else {
            // Only this process changes a block that it holds. Release: as the swaps.
            self.raw.segment.record(self.id).state.first.store(self.word, Release);
        }
    }
}
