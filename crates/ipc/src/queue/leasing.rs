//! What becomes of an item on loan, on whatever memory: a queue's, or that of a model, in which loom tries every
//! interleaving of these steps.
//!
//! | word | values | who moves it, and how |
//! |---|---|---|
//! | a block's state | `leased(t, n)` -> `held(t)` done; -> `orphan(n)` given up or swept; -> `dead letter` after so many deliveries | `t`, or the process that sweeps after its death: one swap |
//! | the same | `orphan(n)` -> `leased(u, n + 1)` | the getter `u`: one swap |
//! | the same | `dead letter` -> `held(v)` -> `dead letter` or free | the process that opens it: a swap, and a store to put it back, since it is the holder's alone |
//! | `orphans` | 1: there may be an orphan; 0: none has come since the last getter began to look | 1 after each orphan's swap; 0 before a look |
//! | `done` | as an event count (`events.rs`) | joiners set the bit, and the holder that ends the last item clears it |
//!
//! | access | ordering | reason |
//! |---|---|---|
//! | swap of a block's state | `AcqRel` | Release: what its holder did with the item is over. Acquire: the next holder sees it so |
//! | load of a block's state | `Acquire` | the item's bytes are as the state says |
//! | failed swap of a state | `Relaxed` | the word is not used |
//! | `orphans` set and cleared | `AcqRel` | a swap, not a store: of two, the later sees what the earlier saw. A getter that clears the hint after an orphan was made sees the orphan in its look |
//! | `orphans` before a get | `Relaxed` | a hint: a getter that misses it looks again after at most 64 items, or when the ring is empty |
//! | `orphans` where a wait depends on it | `Acquire` in joiners; `Relaxed` in a getter's last look | the look that follows sees the orphan. A getter has announced its wait before, with a fence; a getter that adopts swaps `orphans` and looks for waiters after that |
//! | `done` | `AcqRel`, looked at `Relaxed` | as an event count: `after_swap` is the fence between the end of an item and the look |

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use super::{
    custody::{Custody, Whereabouts},
    ring::{AtomicU32, Dequeue, Locate, SLEEPERS, Side, Stop},
    word::{BlockId, BlockState, Holder},
};

/// An item that has passed to a new holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leased {
    pub(crate) block: BlockId,
    /// Its state, which the holder's next step has to find.
    pub(crate) word: u64,
    pub(crate) deliveries: u8,
}

/// The records of a ring whose items are lent.
pub(crate) trait Leasing: Custody {
    /// The hint that there may be orphans.
    fn orphans(&self) -> &AtomicU32;

    /// The event count of joiners.
    fn done(&self) -> &AtomicU32;

    /// After so many deliveries an item becomes a dead letter.
    fn max_deliveries(&self) -> u8;

    /// Every block that may be in use.
    fn all_blocks(&self) -> Result<impl Iterator<Item = BlockId>, Stop>;

    /// Swaps a record's state alone.
    fn swap_state(&self, block: BlockId, from: u64, to: BlockState) -> bool;

    /// Gives back a block that this process holds, and what belongs to its item.
    fn free_finished(&self, block: BlockId);

    /// Whether there may be an orphan that no getter has looked for yet.
    fn may_have_orphans(&self) -> bool {
        self.orphans().load(Acquire) != 0
    }

    /// Takes over an item that lost its taker.
    fn adopt(&self, to: Holder) -> Result<Option<Leased>, Stop> {
        // Before the look: an orphan that is made after it sets the hint again.
        self.orphans().swap(0, AcqRel);
        // Relaxed: the orphans were there before, and no other getter takes the 0 as their absence for good.
        for block in self.all_blocks().inspect_err(|_| self.orphans().store(1, Relaxed))? {
            let (word, _) = self.record(block);
            let BlockState::Orphan { deliveries } = BlockState::from_word(word) else { continue };
            let deliveries = deliveries.saturating_add(1);
            let leased = BlockState::Leased { to, deliveries };
            if self.swap_state(block, word, leased) {
                // There may be more, and a getter that looked meanwhile found no hint, and sleeps.
                self.announce_orphan();
                return Ok(Some(Leased { block, word: leased.to_word(), deliveries }));
            }
        }
        Ok(None)
    }

    /// The end of an item: this swap.
    fn finish(&self, block: BlockId, word: u64, me: Holder) {
        if self.swap_state(block, word, BlockState::Held(me)) {
            self.free_finished(block);
            self.announce_done();
        }
    }

    /// Gives a leased item to the next getter, or makes it a dead letter, for which no getter waits.
    fn abandon(&self, block: BlockId, word: u64, deliveries: u8) {
        if deliveries >= self.max_deliveries() {
            self.move_to_dead_letters(block, word, deliveries);
        } else if self.swap_state(block, word, BlockState::Orphan { deliveries }) {
            self.announce_orphan();
        }
    }

    /// Makes a dead letter of an item, which is done with that.
    fn move_to_dead_letters(&self, block: BlockId, word: u64, deliveries: u8) {
        if self.swap_state(block, word, BlockState::DeadLetter { deliveries }) {
            self.announce_done();
        }
    }

    fn announce_orphan(&self) {
        self.orphans().swap(1, AcqRel);
        self.after_swap();
        self.wake_one(Side::Items);
    }

    fn announce_done(&self) {
        self.after_swap();
        let done = self.done();
        // Only the last one done has something to say; a joiner looks for itself now and then.
        if done.load(Relaxed) & SLEEPERS != 0 && self.has_none().unwrap_or(true) {
            done.fetch_and(!SLEEPERS, AcqRel);
            self.wake_all(done);
        }
    }

    /// Counts this thread among the joiners that sleep; the word as it is then.
    fn announce_joiner(&self) -> u32 {
        let seen = self.done().fetch_or(SLEEPERS, AcqRel) | SLEEPERS;
        self.after_swap();
        seen
    }

    /// Whether nothing is unfinished, at one moment during this call.
    fn has_all_done(&self) -> Result<bool, Stop> {
        let tail = self.find(Side::Space)?.position;
        if !self.has_none()? {
            return Ok(false);
        }
        // The ring was empty at some moment. If nothing has been put by the time when the blocks have been seen, then no
        // lease can have begun meanwhile, and those seen gone are gone together.
        let leased = self.all_blocks()?.any(|block| self.is_unfinished(block));
        Ok(!leased && self.find(Side::Space)?.position == tail)
    }

    /// Whether the item in a block has left the ring and is not done with.
    fn is_unfinished(&self, block: BlockId) -> bool {
        matches!(self.leased_state(block), BlockState::Leased { .. } | BlockState::Orphan { .. })
    }

    /// Whose a block is, after its record has been brought up to date if it was taken.
    fn leased_state(&self, block: BlockId) -> BlockState {
        let (word, place) = self.record(block);
        let state = BlockState::from_word(word);
        if matches!(state, BlockState::Held(_) | BlockState::InRing)
            && let Whereabouts::Taken(spot, payload) = self.whereabouts(block, place)
        {
            self.settle(&spot, payload);
            return BlockState::from_word(self.record(block).0);
        }
        state
    }
}
