//! Clears away what dead processes leave behind. A process does so that needs blocks or is idle; no process waits for it.
//!
//! The order of the looks matters: the word first, then whose index it names, then whether that participant lives, and a
//! compare-and-swap from the very word that was read. An index passes to another participant only after every word that
//! named it has been settled, so a verdict about the index's bearer holds for the word read before.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed},
};

use kernel::liveness::Participant;

use super::{
    custody::Custody,
    leasing::Leasing,
    raw::Raw,
    ring::{Locate, Ring, Spot},
    word::{BlockState, Holder, Owner, SlotWord, Taken},
};

/// How often a sleeper looks for dead participants: milliseconds.
const GARBAGE_EVERY_MS: u64 = 500;
const LEASED_GARBAGE_EVERY_MS: u64 = 60;

impl Raw {
    /// Settles everything that names a dead participant. Then its index is free for another.
    pub(crate) fn sweep(&self, owner: Owner, dead: Participant) {
        if self.check().is_err() {
            return;
        }
        // This process may sweep because the table is full, before it has an entry itself. Then it holds nothing, and a
        // block's memory stays with the block.
        let me = self.here.get().map(|here| here.holder);
        // What cannot be read here is another process's to sweep.
        let Ok(blocks) = self.blocks() else { return };
        if !self.settle_all_taken_by(owner) {
            return;
        }
        let dead_holder = Holder::new(owner, dead);
        for id in blocks {
            if self.collect(id, Some(dead_holder), me.map_or(BlockState::Free, BlockState::Held)) {
                if me.is_some() {
                    self.release_memory(id);
                    self.free_block(id);
                }
                continue;
            }
            // Acquire: as in `Custody::record`.
            let word = self.segment.record(id).state.first.load(Acquire);
            match BlockState::from_word(word) {
                // Relaxed: a hint that there is something to collect; the next look that misses it finds it by the clock.
                BlockState::InRing => self.segment.header().unattended.store(1, Relaxed),
                BlockState::Leased { to, deliveries } if to == dead_holder => self.abandon(id, word, deliveries),
                _ => {}
            }
        }
        self.participants().leave(owner, dead);
    }

    /// Brings up to date the records of all blocks that were taken by that participant, as slots say; false if some slots
    /// cannot be read here.
    fn settle_all_taken_by(&self, owner: Owner) -> bool {
        for slot in 0..self.reserved_slots() {
            let Some(word) = self.word(slot) else { return false };
            let Some(position) = self.taken_at(slot, word) else { continue };
            if let Some((None, payload)) = self.whole(&position)
                && Taken::from_payload(payload).by == owner
            {
                self.settle(&position, payload);
            }
        }
        true
    }

    fn taken_at(&self, slot: u32, word: SlotWord) -> Option<Spot> {
        let position = self.positions().join(word.lap(), slot);
        word.is_taken().then_some(Spot { position, lap: word.lap(), slot, word })
    }

    /// Sweeps after all dead participants.
    #[cold]
    pub(crate) fn sweep_the_dead(&self) {
        for (owner, participant) in self.participants().taken() {
            if self.is_dead(participant) {
                self.sweep(owner, participant);
            }
        }
    }

    /// Frees the blocks whose messages have been taken since their putters left.
    pub(crate) fn collect_unattended(&self, me: Holder) {
        let blocks = self.blocks();
        let mut are_left = blocks.is_err();
        for id in blocks.into_iter().flatten() {
            if self.collect(id, None, BlockState::Held(me)) {
                self.release_memory(id);
                self.free_block(id);
            } else {
                are_left |= self.record(id).0 == BlockState::InRing.to_word();
            }
        }
        if are_left {
            self.segment.header().unattended.store(1, Relaxed);
        }
    }

    /// What a sleeper does when nothing has happened for a while.
    pub(crate) fn collect_garbage(&self, first: bool) {
        if self.leases {
            self.seek_orphans();
        }
        if first {
            self.trim();
        }
        let every_ms = if self.leases { LEASED_GARBAGE_EVERY_MS } else { GARBAGE_EVERY_MS };
        if self.may_look_together(&self.segment.header().last_sweep, every_ms) {
            self.sweep_the_dead();
            if let Ok(me) = self.me() {
                self.collect_unattended(me);
            }
            self.clear_store();
        }
    }

    /// Whether no user of this queue has looked for that long; if so, the caller is to look.
    pub(crate) fn may_look_together(&self, shared: &AtomicU64, every_ms: u64) -> bool {
        // Relaxed: it is the time of a look, by which nothing else is read.
        let (now, last) = (monotonic_ms(), shared.load(Relaxed));
        let due = now.saturating_sub(last) >= every_ms || last > now;
        due && shared.compare_exchange(last, now, Relaxed, Relaxed).is_ok()
    }
}

/// The system's monotonic clock, which all processes share.
fn monotonic_ms() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    now.map_or(0, |now| (now.tv_sec().cast_unsigned()).wrapping_mul(1000) + now.tv_nsec().cast_unsigned() / 1_000_000)
}
