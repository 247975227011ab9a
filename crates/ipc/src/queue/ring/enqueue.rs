//! Putting messages, and closing the ring.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::{
    super::word::{SlotWord, What},
    Locate, PUT_SOON, Ring, SLEEPERS, Side, Spot, Stop,
};

/// Steps of putters, and of the process that closes the ring.
pub(crate) trait Enqueue: Locate {
    /// Puts a message if that is possible at once; false if it is not, and nothing has been done. `aim` is called with the
    /// position before the try.
    #[inline(always)]
    fn put_at_once(&self, what: What, payload: u64, aim: impl FnOnce(u64)) -> bool {
        let position = self.hint(Side::Space).load(Acquire);
        let Some((lap, slot, at)) = self.reach(position, Side::Space) else { return false };
        let free = SlotWord::free(lap);
        if self.word_at(at) != free {
            return false;
        }
        aim(position);
        let stale = self.payload_at(at);
        if !self.swap_at(at, (free, stale), (SlotWord::ready(lap, what), payload)) {
            return false;
        }
        self.was_put(at, lap, slot);
        true
    }

    /// Puts a message, or returns why it could not.
    fn try_put(&self, what: What, payload: u64, mut aim: impl FnMut(u64)) -> Result<(), Stop> {
        loop {
            let spot = self.find(Side::Space)?;
            match self.may_go_on(&spot) {
                Err(Stop::WouldBlock) => {
                    self.grow(&spot)?;
                    continue;
                }
                may => may?,
            }
            if !self.may_put(spot.slot) {
                self.provide(spot.slot)?;
                continue;
            }
            let Some((_, stale)) = self.whole(&spot) else { continue };
            if spot.word.is_taken() {
                self.settle_taken(&spot, stale)?;
            }
            aim(spot.position);
            if self.swap(spot.slot, (spot.word, stale), (SlotWord::ready(spot.lap, what), payload)) {
                self.was_put(self.at(spot.slot), spot.lap, spot.slot);
                return Ok(());
            }
        }
    }

    /// Whether a message can be put at the first position where none is.
    fn may_go_on(&self, spot: &Spot) -> Result<(), Stop> {
        // If not open, what is there must be the message of the lap before.
        let is_full = spot.word.laps_ahead_of(spot.lap) == -1 && !spot.word.is_free();
        match () {
            () if spot.word.is_end() => Err(Stop::Closed),
            () if spot.is_open() => Ok(()),
            () if is_full => Err(Stop::WouldBlock),
            () => Err(self.quarantine()),
        }
    }

    /// Makes the ring, which is full, go on in its next section: marks the position at which a putter would have to wait,
    /// as a close does. `WouldBlock` if there is no other section.
    #[cold]
    fn grow(&self, full: &Spot) -> Result<(), Stop> {
        let next = self.positions().next_section(full.position).ok_or(Stop::WouldBlock)?;
        let (_, slot) = self.positions().split(next).ok_or(Stop::WouldBlock)?;
        // Before the mark: the next process to come there may close the ring, which must not fail.
        if !self.may_put(slot) {
            self.provide(slot)?;
        }
        self.swap_word(full.slot, full.word, full.word.grown());
        Ok(())
    }

    #[inline(always)]
    fn was_put(&self, at: Self::At<'_>, lap: u64, slot: u32) {
        self.expect(at, PUT_SOON);
        // Release: a process that starts from the hint sees the slot put.
        self.hint(Side::Space).store(self.positions().after(lap, slot), Release);
        self.after_swap();
        if self.event(Side::Items).load(Relaxed) & SLEEPERS != 0 {
            self.wake_one(Side::Items);
        }
    }

    /// Closes the ring: marks the first position without a message, so that none will ever be put there. If the ring is
    /// full, its oldest message is in that slot, and leaves the mark behind when it is taken.
    fn close(&self) -> Result<(), Stop> {
        loop {
            let spot = self.find(Side::Space)?;
            match self.may_go_on(&spot) {
                Ok(()) | Err(Stop::WouldBlock) => {}
                Err(Stop::Closed) => break,
                Err(stop) => return Err(stop),
            }
            if self.swap_word(spot.slot, spot.word, spot.word.ended()) {
                break;
            }
        }
        self.after_swap();
        self.wake_all(self.event(Side::Items));
        self.wake_all(self.event(Side::Space));
        Ok(())
    }

    fn is_closed(&self) -> Result<bool, Stop> {
        Ok(self.find(Side::Space)?.word.is_end())
    }

    /// An error if no message could be put: why.
    fn has_room(&self) -> Result<(), Stop> {
        let spot = self.find(Side::Space)?;
        match self.may_go_on(&spot) {
            Err(Stop::WouldBlock) if self.positions().next_section(spot.position).is_some() => Ok(()),
            may => may,
        }
    }
}

impl<R: Ring + ?Sized> Enqueue for R {}
