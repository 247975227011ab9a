//! Taking messages.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::{
    super::word::{SlotWord, What, next_lap},
    Locate, Peeked, Ring, SLEEPERS, Side, Spot, Stop,
};

/// Steps of getters.
pub(crate) trait Dequeue: Locate {
    /// Takes a message whose slot is given up by its word alone: a number, a short one, or one that has been copied.
    #[inline(always)]
    fn take(&self, spot: &Spot) -> bool {
        let positions = self.positions();
        // Release: what was read of the message was read before the slot is free.
        if !self.swap_word(spot.slot, spot.word, spot.word.after(SlotWord::free(next_lap(spot.lap)))) {
            return false;
        }
        self.hint(Side::Items).store(positions.after(spot.lap, spot.slot), Release);
        self.is_taken();
        true
    }

    /// Takes a message that lies in a block; the slot then says which participant took which block.
    fn take_block(&self, spot: &Spot, payload: u64, taken: u64) -> bool {
        let free = spot.word.after(SlotWord::free_taken(next_lap(spot.lap)));
        if !self.swap(spot.slot, (spot.word, payload), (free, taken)) {
            return false;
        }
        self.hint(Side::Items).store(self.positions().after(spot.lap, spot.slot), Release);
        self.is_taken();
        true
    }

    /// Wakes a putter that sleeps, after a slot has become free.
    #[inline(always)]
    fn is_taken(&self) {
        self.after_swap();
        if self.event(Side::Space).load(Relaxed) & SLEEPERS != 0 {
            self.wake_one(Side::Space);
        }
    }

    /// The message that the hint leads to, if it is of that kind and can be taken at once.
    #[inline(always)]
    fn peek(&self, what: What) -> Option<Peeked<Self::At<'_>>> {
        let (lap, slot, at) = self.reach(self.hint(Side::Items).load(Acquire), Side::Items)?;
        let ready = SlotWord::ready(lap, what);
        if self.word_at(at) != ready {
            return None;
        }
        Some(Peeked { at, ready, payload: self.payload_at(at), lap, slot })
    }

    /// Takes a message that was peeked at; false if another getter was faster.
    #[inline(always)]
    fn take_peeked(&self, peeked: &Peeked<Self::At<'_>>) -> bool {
        // Release: what was read of the message was read before the slot is free.
        if !self.swap_word_at(peeked.at, peeked.ready, SlotWord::free(next_lap(peeked.lap))) {
            return false;
        }
        self.hint(Side::Items).store(self.positions().after(peeked.lap, peeked.slot), Release);
        self.is_taken();
        true
    }

    /// Takes a number if that is possible at once.
    #[inline(always)]
    fn take_number_at_once(&self) -> Option<u64> {
        let peeked = self.peek(What::NUMBER)?;
        self.take_peeked(&peeked).then_some(peeked.payload)
    }

    /// Takes the numbers that are next, as long as that is possible at once; returns how many, and whether there was
    /// nothing behind them. The hint is moved, and putters are woken, once for all of them.
    fn take_numbers(&self, into: &mut [u64]) -> (usize, bool) {
        let (positions, head) = (self.positions(), self.hint(Side::Items));
        let mut position = head.load(Acquire);
        let (mut n, mut is_end) = (0, false);
        while n < into.len()
            && let Some((lap, slot)) = positions.split(position)
            && self.is_readable(slot)
        {
            let (at, ready) = (self.at(slot), SlotWord::ready(lap, What::NUMBER));
            let word = self.word_at(at);
            if word != ready {
                is_end = word == SlotWord::free(lap);
                break;
            }
            let number = self.payload_at(at);
            if !self.swap_word_at(at, ready, SlotWord::free(next_lap(lap))) {
                break;
            }
            into[n] = number;
            n += 1;
            position = positions.after(lap, slot);
        }
        if n > 0 {
            head.store(position, Release);
            self.is_taken();
        }
        (n, is_end)
    }

    /// The next message, if there is one: `WouldBlock` if there is none, `Closed` if none can come any more.
    #[inline]
    fn next(&self) -> Result<Spot, Stop> {
        let spot = self.find(Side::Items)?;
        match () {
            () if spot.is_ready() => Ok(spot),
            () if !spot.is_open() => Err(self.quarantine()),
            () if spot.word.is_end() => Err(Stop::Closed),
            () => Err(Stop::WouldBlock),
        }
    }

    /// Whether no message was there.
    fn has_none(&self) -> Result<bool, Stop> {
        Ok(!self.find(Side::Items)?.is_ready())
    }
}

impl<R: Ring + ?Sized> Dequeue for R {}
