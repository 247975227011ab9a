//! Items on loan: what `JoinableQueue` adds to the ring.
//!
//! An item lies in a block, always. When it is taken from the ring, its block becomes a lease of its taker's, by the same
//! two steps by which blocks of other queues pass to theirs: so it is in the ring or leased, or the slot that it was in
//! says who is to have it. A lease whose taker died becomes an orphan, which the next getter takes over, or a dead letter
//! if that happened too often. It stays in its block all the time, and nothing ever goes back into the ring: who looks at
//! the ring first and at the blocks after it misses nothing.
//!
//! | word | values | who moves it, and how |
//! |---|---|---|
//! | a block's state | `leased(t, n)` -> `held(t)` done; -> `orphan(n)` given up or swept; -> `dead letter` after so many deliveries | `t`, or whoever sweeps after its death: one swap |
//! | the same | `orphan(n)` -> `leased(u, n + 1)` | the getter `u`: one swap |
//! | the same | `dead letter` -> `held(v)` -> `dead letter` or free | who opens it: a swap, and a store to put it back, since it is the holder's alone |
//! | `orphans` | 1: there may be an orphan; 0: none has come since the last getter began to look | 1 after each orphan's swap; 0 before a look |
//! | `done` | as an event count (`events.rs`) | joiners set the bit, and whoever ends the last item clears it |
//!
//! | access | ordering | reason |
//! |---|---|---|
//! | swap of a block's state | `AcqRel` | Release: what its holder did with the item is over. Acquire: the next holder sees it so |
//! | load of a block's state | `Acquire` | the item's bytes are as the state says |
//! | failed swap of a state | `Relaxed` | the word is not used |
//! | `orphans` set and cleared | `AcqRel` | a swap, not a store: of two, the later sees what the earlier saw. A getter that clears the hint after an orphan was made sees the orphan in its look |
//! | `orphans` before a get | `Relaxed` | a hint: who misses it looks again after at most 64 items, or when the ring is empty |
//! | `orphans` where a wait depends on it | `Acquire` | the look that follows sees the orphan |
//! | `done` | `AcqRel`, looked at `Relaxed` | as an event count: `after_swap` is the fence between the end of an item and the look |

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
    custody::{Custody, Whereabouts},
    patience::Patience,
    raw::Raw,
    ring::{Ring, SLEEPERS, Side, Stop},
    store::Key,
    word::{BlockId, BlockState, Kind, Owner},
};

/// How often somebody looks whether the holders of leases live, if anybody waits: milliseconds.
const LEASES_EVERY_MS: u64 = 15;
/// Of very many items a look takes long, and comes the more seldom: that many times as long lies between two.
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
        self.end(|raw, id, word| raw.finish(id, word));
    }

    /// Nobody can do anything with the item: it becomes a dead letter.
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
            && let Some(lease) = self.adopt()?
        {
            return Ok(lease);
        }
        if self.leases_taken.fetch_add(1, Relaxed).is_multiple_of(LOOK_EVERY) {
            self.seek_orphans();
        }
        let lease = self.try_lease_fresh();
        if matches!(lease, Err(Stop::Closed)) {
            self.seek_orphans_now();
            if let Some(lease) = self.adopt()? {
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

    fn lease(self: &Arc<Self>, id: BlockId, word: u64, len: usize, deliveries: u8) -> Lease {
        Lease { raw: self.clone(), id, word, len, deliveries, forks: barrier::forks() }
    }

    /// Takes over an item that lost its taker.
    fn adopt(self: &Arc<Self>) -> Result<Option<Lease>, Stop> {
        let orphans = &self.segment.header().orphans;
        let to = self.me()?;
        // Before the look: whoever makes an orphan after it sets the hint again.
        orphans.swap(0, AcqRel);
        // Relaxed: the orphans were there before, and nobody else has seen the 0 as their absence for good.
        for id in self.blocks().inspect_err(|_| orphans.store(1, Relaxed))? {
            let state = &self.segment.record(id).state.first;
            let word = state.load(Acquire);
            let BlockState::Orphan { deliveries } = BlockState::from_word(word) else { continue };
            let deliveries = deliveries.saturating_add(1);
            let leased = BlockState::Leased { to, deliveries }.to_word();
            if state.compare_exchange(word, leased, AcqRel, Relaxed).is_ok() {
                // There may be more; Relaxed, since they were there before.
                orphans.store(1, Relaxed);
                return Ok(Some(self.lease(id, leased, self.len_of(id)?, deliveries)));
            }
        }
        Ok(None)
    }

    /// Makes a dead letter of an item, which is done with that.
    fn move_to_dead_letters(&self, id: BlockId, word: u64, deliveries: u8) {
        let dead = BlockState::DeadLetter { deliveries }.to_word();
        if self.segment.record(id).state.first.compare_exchange(word, dead, AcqRel, Relaxed).is_ok() {
            self.announce_done();
        }
    }

    /// The end of an item: this compare-and-swap.
    fn finish(&self, id: BlockId, word: u64) {
        let Ok(me) = self.me() else { return };
        let held = BlockState::Held(me).to_word();
        if self.segment.record(id).state.first.compare_exchange(word, held, AcqRel, Relaxed).is_ok() {
            self.free_done(id);
            self.announce_done();
        }
    }

    /// Gives a leased item to the next getter, or makes it a dead letter, for which nobody waits.
    pub(super) fn abandon(&self, id: BlockId, word: u64, deliveries: u8) {
        let is_last = deliveries >= self.max_deliveries;
        let to = if is_last { BlockState::DeadLetter { deliveries } } else { BlockState::Orphan { deliveries } };
        if self.segment.record(id).state.first.compare_exchange(word, to.to_word(), AcqRel, Relaxed).is_err() {
            return;
        }
        if is_last { self.announce_done() } else { self.announce_orphan() }
    }

    /// Whether somebody has made an orphan that no getter has looked for since.
    pub(super) fn may_have_orphans(&self) -> bool {
        self.segment.header().orphans.load(Acquire) != 0
    }

    fn announce_orphan(&self) {
        self.segment.header().orphans.swap(1, AcqRel);
        self.after_swap();
        self.wake_one(Side::Items);
    }

    fn announce_done(&self) {
        self.after_swap();
        let done = self.done();
        // Only the last one done has something to say; a joiner looks for itself now and then.
        if done.load(Relaxed) & SLEEPERS != 0 && self.is_empty() {
            done.fetch_and(!SLEEPERS, AcqRel);
            self.wake_all(done);
        }
    }

    /// Looks whether the holders of leases live, unless somebody did just now.
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

    /// The word that joiners sleep on.
    pub(super) fn done(&self) -> &AtomicU32 {
        &self.segment.header().done
    }

    /// Counts this thread among the joiners that sleep; the word as it is then.
    pub(super) fn announce_joiner(&self) -> u32 {
        let seen = self.done().fetch_or(SLEEPERS, AcqRel) | SLEEPERS;
        self.after_swap();
        seen
    }

    /// Whether nothing is unfinished, at one moment during this call.
    pub(super) fn is_all_done(&self) -> Result<bool, Stop> {
        self.check()?;
        let tail = self.find(Side::Space)?.position;
        if !self.has_none()? {
            return Ok(false);
        }
        // The ring was empty at some moment. If nothing has been put by the time when the blocks have been seen, then no
        // lease can have begun meanwhile, and those seen gone are gone together.
        let leased = self.blocks()?.any(|id| self.is_unfinished(id));
        Ok(!leased && self.find(Side::Space)?.position == tail)
    }

    /// How many items have been put and are not done with; while others are at work, some number near it.
    pub(crate) fn unfinished(&self) -> usize {
        self.len() + self.blocks().map_or(0, |blocks| blocks.filter(|id| self.is_unfinished(*id)).count())
    }

    /// Whether the item in a block has left the ring and is not done with.
    fn is_unfinished(&self, id: BlockId) -> bool {
        matches!(self.leased_state(id), BlockState::Leased { .. } | BlockState::Orphan { .. })
    }

    /// Whose a block is, after it has become its taker's if it was to.
    fn leased_state(&self, id: BlockId) -> BlockState {
        let (word, place) = self.record(id);
        let state = BlockState::from_word(word);
        if matches!(state, BlockState::Held(_) | BlockState::InRing)
            && let Whereabouts::Taken(spot, payload) = self.whereabouts(id, place)
        {
            self.settle(&spot, payload);
            return BlockState::from_word(self.record(id).0);
        }
        state
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
            // Damage is no reason to keep it.
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

/// A dead letter in hand: gone if it was taken, else laid back, also when who looks at it panics.
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
            // Nobody but this process changes a block that it holds. Release: as the swaps.
            self.raw.segment.record(self.id).state.first.store(self.word, Release);
        }
    }
}
