//! Looking for the first position that one side has not passed.

use std::{
    io,
    sync::atomic::Ordering::{Acquire, Release},
};

use super::{
    super::word::{Kind, SlotWord},
    Ring, Side, Spot, Stop,
};

/// In so many steps undamaged memory always gives an answer, unless others put and take all the time.
const MAX_STEPS: u32 = 1 << 20;
/// A search of more steps than this moves the hint for others.
const SHORT_WALK: u32 = 8;

/// Steps that only look.
pub(crate) trait Locate: Ring {
    #[inline(always)]
    fn look(&self, position: u64) -> Option<Spot> {
        let (lap, slot) = self.positions().split(position)?;
        let word = match self.word(slot) {
            Some(word) => word,
            None => self.is_untouched(slot).then_some(SlotWord::free(0))?,
        };
        Some(Spot { position, lap, slot, word })
    }

    /// Why a position could not be looked at.
    #[cold]
    fn why_not(&self, position: Option<u64>) -> Stop {
        match position.and_then(|position| self.positions().split(position)) {
            Some(_) => Stop::System(io::ErrorKind::OutOfMemory),
            None => self.quarantine(),
        }
    }

    /// The first position that one side has not passed, and its word at a moment at which all before it were passed. So
    /// a word that is behind there means that the ring was full, one that is free that it was empty.
    ///
    /// What has been passed is a prefix of all positions and stays so; so it is searched for by halves, and a hint that
    /// lags behind costs steps in the order of its logarithm.
    ///
    /// Where the ring has grown, the search goes on in the next section.
    #[inline]
    fn find(&self, side: Side) -> Result<Spot, Stop> {
        let hint = self.hint(side).load(Acquire);
        let spot = self.look(hint).ok_or_else(|| self.why_not(Some(hint)))?;
        if spot.is_passed(side) || spot.leads_on(side) { self.find_further(spot, side) } else { Ok(spot) }
    }

    /// As [`find`](Self::find), from a position that has been passed or leads on.
    #[cold]
    fn find_further(&self, mut spot: Spot, side: Side) -> Result<Spot, Stop> {
        loop {
            if spot.is_passed(side) {
                spot = self.find_in_section(spot, side)?;
            }
            if !spot.leads_on(side) {
                return Ok(spot);
            }
            let next = self.positions().next_section(spot.position).ok_or_else(|| self.quarantine())?;
            spot = self.look(next).ok_or_else(|| self.why_not(Some(next)))?;
            self.hint(side).store(next, Release);
        }
    }

    /// The first position of the section that one side has not passed, starting from one that it has passed.
    fn find_in_section(&self, mut passed: Spot, side: Side) -> Result<Spot, Stop> {
        let (mut step, mut grows) = (1, true);
        for steps in 0..MAX_STEPS {
            let position = self.positions().advance(passed.position, step);
            let spot = position.and_then(|position| self.look(position)).ok_or_else(|| self.why_not(position))?;
            if spot.is_passed(side) {
                passed = spot;
                grows |= step == 1;
                step = if grows { step * 2 } else { step / 2 };
            } else if step > 1 {
                grows = false;
                step /= 2;
            } else {
                // The one before was passed before this one was looked at.
                if steps > SHORT_WALK {
                    self.hint(side).store(spot.position, Release);
                }
                return Ok(spot);
            }
        }
        Err(self.quarantine())
    }

    /// A word and the payload that belongs to it; `None` if the word is another by now.
    fn whole(&self, spot: &Spot) -> Option<(Option<Kind>, u64)> {
        let payload = self.payload(spot.slot);
        (self.word(spot.slot) == Some(spot.word)).then_some((spot.word.kind(), payload))
    }

    /// How many messages there were at some moment.
    fn count(&self) -> Result<u64, Stop> {
        loop {
            let head = self.find(Side::Items)?;
            let tail = self.find(Side::Space)?;
            let n = self.distance(head, tail.position)?;
            // Nothing was taken meanwhile.
            let again = self.look(head.position).ok_or_else(|| self.why_not(Some(head.position)))?;
            if !again.is_passed(Side::Items) && !again.leads_on(Side::Items) {
                return Ok(n);
            }
        }
    }

    /// How many positions there are up to `tail`, through all sections in between, which putters have left.
    fn distance(&self, from: Spot, tail: u64) -> Result<u64, Stop> {
        let positions = self.positions();
        let (mut from, mut n) = (from, 0);
        while !positions.are_together(from.position, tail) {
            // Nothing is put there any more, so it is where putters left.
            let end = if from.is_passed(Side::Space) { self.find_in_section(from, Side::Space)? } else { from };
            n += positions.distance(from.position, end.position).unwrap_or(0);
            let Some(next) = positions.next_section(from.position) else { return Ok(0) };
            from = self.look(next).ok_or_else(|| self.why_not(Some(next)))?;
        }
        Ok(n + positions.distance(from.position, tail).unwrap_or(0))
    }
}

impl<R: Ring + ?Sized> Locate for R {}
