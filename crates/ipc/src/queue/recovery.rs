//! What the dead leave behind, and who clears it away: whoever would have to wait for them.
//!
//! The order of the looks matters: the word first, then whose index it names, then whether that process lives, and a
//! compare-and-swap from the very word that was read. An index passes to another process only after every word that
//! named it has been settled, so a verdict about the index's bearer holds for the word read before.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use proc_core::identity::ProcessId;

use super::{
    layout::BlockId,
    protocol::Ring,
    ring::Raw,
    word::{BlockState, Holder, Owner, Phase, SlotWord},
};

/// How often an operation that does not wait, or one that sleeps, looks whether others live: milliseconds.
const LOOK_EVERY_MS: u64 = 1;
const HOUSE_EVERY_MS: u64 = 500;
const LEASED_HOUSE_EVERY_MS: u64 = 60;

impl Raw {
    /// Frees a slot whose owner has died. False if the owner lives, or nobody owns it, or it could not be done now.
    #[cold]
    pub(crate) fn settle_if_dead(&self, slot: u32, word: SlotWord) -> bool {
        if !matches!(word.phase(), Phase::Writing | Phase::Reading) || self.me() == Ok(word.owner()) {
            return false;
        }
        match self.participants().process(word.owner()) {
            Some(process) if process.is_alive() => return false,
            Some(process) => {
                self.settle(slot, word);
                self.sweep(word.owner(), process);
            }
            // Given up by who could not go on with it; or its owner left, which an honest one does not.
            None => self.settle(slot, word),
        }
        self.segment.word(slot).load(Relaxed) != word.0
    }

    /// Takes a slot from a dead owner: a message half written never was; one half read is gone with its reader, or
    /// goes to another if items are leased.
    fn settle(&self, slot: u32, word: SlotWord) {
        if word.phase() == Phase::Reading && self.leases {
            self.rescue(slot, word);
            return;
        }
        self.free_of_the_dead(self.segment.word(slot), word);
    }

    /// Settles everything that names a dead process, then its index is free for another.
    pub(crate) fn sweep(&self, owner: Owner, process: ProcessId) {
        for slot in 0..self.slots_in_use() {
            let word = SlotWord(self.segment.word(slot).load(Acquire));
            if word.owner() == owner && matches!(word.phase(), Phase::Writing | Phase::Reading) {
                // By now it may be another bearer's.
                if self.participants().process(owner) != Some(process) {
                    return;
                }
                self.settle(slot, word);
            }
        }
        let dead = Holder::new(owner, process);
        let mut settled = true;
        for id in self.blocks() {
            let record = self.segment.record(id);
            let word = record.word.load(Acquire);
            match BlockState::from_word(word) {
                BlockState::Held(holder) if holder == dead => self.reclaim(id, word),
                BlockState::Attached { slot, lap } if !self.is_attached(slot, lap) => self.reclaim(id, word),
                BlockState::Leased { to, deliveries } if to == dead => settled &= self.orphan(id, word, deliveries),
                _ => {}
            }
        }
        if settled {
            self.participants().leave(owner, process);
        }
    }

    /// Sweeps after everybody who is dead.
    #[cold]
    pub(crate) fn sweep_the_dead(&self) {
        for (owner, process) in self.participants().taken() {
            if !process.is_alive() {
                self.sweep(owner, process);
            }
        }
    }

    /// Whether a slot still holds, or is about to hold, the message of that lap.
    fn is_attached(&self, slot: u32, lap: u32) -> bool {
        if slot >= self.slots_in_use() {
            return false;
        }
        let word = SlotWord(self.segment.word(slot).load(Acquire));
        word.lap() as u32 == lap && word.phase() != Phase::Free
    }

    fn reclaim(&self, id: BlockId, word: u64) {
        let Ok(holder) = self.holder() else { return };
        let record = self.segment.record(id);
        if record.word.compare_exchange(word, BlockState::Held(holder).to_word(), AcqRel, Relaxed).is_ok() {
            self.release_memory(id);
            record.word.store(BlockState::Free.to_word(), Release);
        }
    }

    /// What a sleeper does when nothing has happened for a while.
    pub(crate) fn keep_house(&self, first: bool) {
        if self.leases {
            self.seek_orphans();
        }
        if first {
            self.trim();
        }
        let every_ms = if self.leases { LEASED_HOUSE_EVERY_MS } else { HOUSE_EVERY_MS };
        if self.may_look_together(&self.segment.header().last_sweep, every_ms) {
            self.sweep_the_dead();
        }
    }

    /// Limits how often operations that do not wait ask the system about one and the same word's owner.
    pub(crate) fn may_look_at(&self, word: SlotWord) -> bool {
        let now = monotonic_ms();
        let again = self.last_suspect.load(Relaxed) == word.0;
        if again && now.saturating_sub(self.last_look.load(Relaxed)) < LOOK_EVERY_MS {
            return false;
        }
        self.last_suspect.store(word.0, Relaxed);
        self.last_look.store(now, Relaxed);
        true
    }

    /// Whether none of all this queue's users has looked for that long; if so, the caller is to.
    pub(crate) fn may_look_together(&self, shared: &AtomicU64, every_ms: u64) -> bool {
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
