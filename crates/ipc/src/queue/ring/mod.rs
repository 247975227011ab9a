//! The steps of the ring, on whatever memory: a queue's, or that of a model, in which loom tries every interleaving of
//! them. README.md has the protocol that they make.
//!
//! | word | values | who moves it, and how |
//! |---|---|---|
//! | a slot's word and payload | `free(lap)`, `ready(lap, what)`, each with a mark (end, grown) or without | a putter, a getter, or a process that closes or grows the ring: one swap from exactly what it has read |
//! | `tail`, `head`: the hint of each side | a position up to which all has been put (taken) | any user that has found it: a store, which may also move it backwards |
//! | `items`, `space`: the event count of each side | see `events.rs` | a sleeper sets the bit; a waker clears it and steps the sequence |
//!
//! | access | ordering | reason |
//! |---|---|---|
//! | swap of a slot | `AcqRel` | Release: what was written to the message is there when the slot says `ready`, and what was read of it was read before the slot says `free`. Acquire: the process that swaps next sees both |
//! | load of a slot's word or payload | `Acquire` | the message that the word speaks of is seen; a load of the word that follows in the program follows in time, too |
//! | load of a hint | `Acquire` | pairs with its store: a slot that the hint says is passed is seen to be passed |
//! | store of a hint | `Release` | see above; the process that stores it has seen that all slots before it are passed |
//! | look at an event count after a swap | `Relaxed` | `after_swap` is a full fence between the swap and this load. A sleeper runs the same fence between its announcement and its last look at the slots, so at least one of two sees the other |
//! | announcement of a sleeper, wake-up | `AcqRel` | Release: a thread that is woken by a new sequence, or reads it, sees what was put (taken) before. Acquire: the waker's next look at the slots comes after the announcement that it read |
//! | failed swap of an event count | `Relaxed` | the value is only used for the next try |

use std::{
    io,
    sync::atomic::Ordering::{AcqRel, Relaxed},
};

#[cfg(all(test, loom))]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, fence};
#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64};

mod dequeue;
mod enqueue;
mod locate;
mod spot;

pub(crate) use self::{
    dequeue::Dequeue,
    enqueue::Enqueue,
    locate::Locate,
    spot::{Peeked, Side, Spot},
};
use super::word::{Positions, SlotWord};

/// Bits of an event count, see `events.rs`.
pub(crate) const SLEEPERS: u32 = 1;
const SEQUENCE: u32 = 2;

/// How many slots ahead a putter, and a getter, asks for a cache line. A line takes as long to come from the other side as a few
/// messages take; a line that is asked for too early is taken away again before it is used.
const PUT_SOON: usize = 4;
pub(crate) const TAKEN_SOON: usize = 8;

/// Why an operation did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Full for a put, empty for a get.
    WouldBlock,
    Closed,
    Damaged,
    System(io::ErrorKind),
}

/// A ring's memory, and how its sleepers are woken. [`Locate`], [`Enqueue`] and [`Dequeue`] are what can be done with it.
pub(crate) trait Ring {
    /// A slot, found.
    type At<'a>: Copy
    where
        Self: 'a;

    fn positions(&self) -> &Positions;

    /// The tail for putters, the head for getters: a position up to which, exclusively, everything has been put or taken.
    /// It may lag behind any amount, and never leads.
    fn hint(&self, side: Side) -> &AtomicU64;

    fn event(&self, side: Side) -> &AtomicU32;

    /// A slot's word; `None` while there is no memory behind it, which is as good as free for lap 0, or if this process
    /// has no address for it.
    fn word(&self, slot: u32) -> Option<SlotWord>;

    /// Whether a slot whose word could not be read has no memory yet.
    fn is_untouched(&self, slot: u32) -> bool;

    /// The slot, whose word can be read.
    fn at(&self, slot: u32) -> Self::At<'_>;

    /// Whether the slot's word can be read.
    fn is_readable(&self, slot: u32) -> bool;

    fn word_at(&self, at: Self::At<'_>) -> SlotWord;

    fn payload_at(&self, at: Self::At<'_>) -> u64;

    /// Swaps a slot's word alone. That is safe, since a word never has the same value twice.
    fn swap_word_at(&self, at: Self::At<'_>, from: SlotWord, to: SlotWord) -> bool;

    /// Swaps a slot's word and payload together.
    fn swap_at(&self, at: Self::At<'_>, from: (SlotWord, u64), to: (SlotWord, u64)) -> bool;

    /// Whether there is memory behind the slot, and behind the one after it: that is for the mark of a close.
    fn may_put(&self, slot: u32) -> bool;

    /// Puts memory behind a slot, and the one after it.
    fn provide(&self, slot: u32) -> Result<(), Stop>;

    /// Ensures that the block of the message that was taken from `spot` last has passed to its taker.
    fn settle_taken(&self, spot: &Spot, payload: u64) -> Result<(), Stop>;

    /// Marks the memory as damaged: from then on nothing in it is trusted.
    fn quarantine(&self) -> Stop;

    /// The fence between a swap that publishes something and the look for sleepers or a close; a sleeper runs it, too.
    fn after_swap(&self);

    /// Wakes up to `n` sleepers of an event count; returns how many there were.
    fn wake(&self, event: &AtomicU32, n: u32) -> usize;

    /// A slot's payload. It belongs to the word that is there both before and after.
    #[inline(always)]
    fn payload(&self, slot: u32) -> u64 {
        self.payload_at(self.at(slot))
    }

    #[inline(always)]
    fn swap_word(&self, slot: u32, from: SlotWord, to: SlotWord) -> bool {
        self.swap_word_at(self.at(slot), from, to)
    }

    #[inline(always)]
    fn swap(&self, slot: u32, from: (SlotWord, u64), to: (SlotWord, u64)) -> bool {
        self.swap_at(self.at(slot), from, to)
    }

    /// Tells the processor that the slot so many after that one, if there is one, is likely to be swapped soon.
    #[inline(always)]
    fn expect(&self, _at: Self::At<'_>, _ahead: usize) {}

    /// The lap and the slot of a position, if there is nothing more to do before a look at it, or a put there.
    #[inline(always)]
    fn reach(&self, position: u64, side: Side) -> Option<(u64, u32, Self::At<'_>)> {
        self.reach_any(position, side)
    }

    /// As [`reach`](Self::reach), without its short cut: the fallback of a ring that has one.
    #[cold]
    #[inline(never)]
    fn reach_any(&self, position: u64, side: Side) -> Option<(u64, u32, Self::At<'_>)> {
        let (lap, slot) = self.positions().split(position)?;
        let is_reached = match side {
            Side::Items => self.is_readable(slot),
            Side::Space => self.may_put(slot),
        };
        is_reached.then(|| (lap, slot, self.at(slot)))
    }

    /// Announces a sleeper; returns the event count from then on. The caller looks at the slots once more before it sleeps.
    fn announce(&self, side: Side) -> u32 {
        let seen = self.event(side).fetch_or(SLEEPERS, AcqRel) | SLEEPERS;
        self.after_swap();
        seen
    }

    /// Wakes two sleepers of one side at most.
    #[cold]
    fn wake_one(&self, side: Side) {
        let event = self.event(side);
        let mut seen = event.load(Relaxed);
        while seen & SLEEPERS != 0 {
            let next = (seen & !SLEEPERS).wrapping_add(SEQUENCE);
            match event.compare_exchange(seen, next, AcqRel, Relaxed) {
                Ok(_) => {
                    if self.wake(event, 2) == 2 {
                        event.fetch_or(SLEEPERS, AcqRel);
                    }
                    return;
                }
                Err(changed) => seen = changed,
            }
        }
    }

    /// Wakes all sleepers of an event count.
    fn wake_all(&self, event: &AtomicU32) {
        event.fetch_add(SEQUENCE, AcqRel);
        self.wake(event, u32::MAX);
    }
}
