//! The steps of the ring, on whatever memory: a queue's, or that of a model, in which loom tries every interleaving of
//! them. What they add up to is in README.md.
//!
//! | word | values | who moves it, and how |
//! |---|---|---|
//! | a slot's word and payload | `free(lap)`, `ready(lap, what)`, each with a mark (end, grown) or without | a putter, a getter, or whoever closes or grows the ring: one swap from exactly what it has read |
//! | `tail`, `head`: the hint of each side | a position up to which all has been put (taken) | anyone who has found it: a store, which may also put it back |
//! | `items`, `space`: the event count of each side | see `events.rs` | a sleeper sets the bit; whoever wakes clears it and steps the sequence |
//!
//! | access | ordering | reason |
//! |---|---|---|
//! | swap of a slot | `AcqRel` | Release: what was written to the message is there when the slot says `ready`, and what was read of it was read before the slot says `free`. Acquire: both are seen by whoever has swapped next |
//! | load of a slot's word or payload | `Acquire` | the message that the word speaks of is seen; a load of the word that follows in the program follows in time, too |
//! | load of a hint | `Acquire` | pairs with its store: a slot that the hint says is passed is seen to be passed |
//! | store of a hint | `Release` | see above; whoever stores has seen all slots before it passed |
//! | look at an event count after a swap | `Relaxed` | `after_swap` is a full fence between the swap and this load. A sleeper runs the same fence between its announcement and its last look at the slots, so at least one of two sees the other |
//! | announcement of a sleeper, wake-up | `AcqRel` | Release: whoever is woken by a new sequence, or reads it, sees what was put (taken) before. Acquire: whoever wakes orders its next look at the slots after the announcement that it read |
//! | failed swap of an event count | `Relaxed` | the value is only used for the next try |

use std::{
    io,
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release},
};

#[cfg(all(test, loom))]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, fence};
#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64};

use super::word::{Kind, Positions, SlotWord, What, next_lap};

/// Bits of an event count, see `events.rs`.
pub(crate) const SLEEPERS: u32 = 1;
const SEQUENCE: u32 = 2;

/// Steps in which honest memory always gives an answer, unless others go on all the time.
const MAX_STEPS: u32 = 1 << 20;
/// How many slots on the one lies whose cache line is asked for, by a putter and by a getter. Between putter and getter,
/// lines take as long to come as some messages do; one too far on is taken away again before it is used.
const PUT_SOON: usize = 4;
pub(crate) const TAKEN_SOON: usize = 8;
/// A walk of more steps than this moves the hint for others.
const SHORT_WALK: u32 = 8;

/// Which side of the queue waits, for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// A getter, for messages.
    Items,
    /// A putter, for room.
    Space,
}

/// Why an operation did not go ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Full for a put, empty for a get.
    WouldBlock,
    Closed,
    Damaged,
    System(io::ErrorKind),
}

/// A slot at a position of the ring, and what its word was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) position: u64,
    pub(crate) lap: u64,
    pub(crate) slot: u32,
    pub(crate) word: SlotWord,
}

impl Spot {
    /// Whether the position has been passed by that side: put, for putters; taken, for getters.
    #[inline(always)]
    fn is_passed(&self, side: Side) -> bool {
        match self.word.laps_ahead_of(self.lap) {
            0 => side == Side::Space && !self.word.is_free(),
            ahead => ahead > 0,
        }
    }

    /// Whether that side, which has not passed the position, never will: it goes on in the next section.
    #[inline(always)]
    fn leads_on(&self, side: Side) -> bool {
        self.word.is_grown() && (side == Side::Space || self.is_open())
    }

    /// Whether a message is there to be taken.
    #[inline(always)]
    pub(crate) fn is_ready(&self) -> bool {
        self.word.laps_ahead_of(self.lap) == 0 && !self.word.is_free()
    }

    /// Whether a message can be put there, unless the ring is closed.
    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        self.word.laps_ahead_of(self.lap) == 0 && self.word.is_free()
    }
}

/// A message that is the next, and can be taken by its word alone.
#[derive(Clone, Copy)]
pub(crate) struct Peeked<At> {
    pub(crate) at: At,
    ready: SlotWord,
    pub(crate) payload: u64,
    lap: u64,
    slot: u32,
}

/// A ring's memory, and what can be done with it.
pub(crate) trait Ring {
    /// A slot, found.
    type At<'a>: Copy
    where
        Self: 'a;

    fn positions(&self) -> &Positions;

    /// The tail for those who look for space, the head for those who look for items: a position up to which, exclusively,
    /// everything has been put or taken. It may lag behind any amount, and never leads.
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

    /// Swaps a slot's word alone: one that is read by itself, as it does not repeat.
    fn swap_word_at(&self, at: Self::At<'_>, from: SlotWord, to: SlotWord) -> bool;

    /// Swaps a slot's word and payload together.
    fn swap_at(&self, at: Self::At<'_>, from: (SlotWord, u64), to: (SlotWord, u64)) -> bool;

    /// Whether there is memory behind the slot, and behind the one after it: that is for the mark of a close.
    fn may_put(&self, slot: u32) -> bool;

    /// Has memory put behind a slot, and the one after it.
    fn provide(&self, slot: u32) -> Result<(), Stop>;

    /// Sees to it that the block of the message that was taken from `spot` last has passed to its taker.
    fn settle_taken(&self, spot: &Spot, payload: u64) -> Result<(), Stop>;

    /// Nothing in this memory is believed any more.
    fn quarantine(&self) -> Stop;

    /// Between a swap that publishes something and the look at who sleeps or has closed; a sleeper has the other half.
    fn after_swap(&self);

    /// Wakes so many of those who sleep on an event count; says how many there were.
    fn wake(&self, event: &AtomicU32, n: u32) -> usize;

    // ---------------------------------------------------------------------------------------------- slots

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

    // ---------------------------------------------------------------------------------------------- looking

    /// The slot so many after that one, if there is one, is likely to be swapped soon.
    #[inline(always)]
    fn expect(&self, _at: Self::At<'_>, _ahead: usize) {}

    /// The lap and the slot of a position, if there is nothing more to do before a look at it, or a put there.
    #[inline(always)]
    fn reach(&self, position: u64, side: Side) -> Option<(u64, u32, Self::At<'_>)> {
        self.reach_any(position, side)
    }

    /// As [`reach`](Self::reach), by asking for each slot: what a ring with a shorter way for most falls back on.
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

    #[inline(always)]
    fn look(&self, position: u64) -> Option<Spot> {
        let (lap, slot) = self.positions().split(position)?;
        let word = match self.word(slot) {
            Some(word) => word,
            None => self.is_untouched(slot).then_some(SlotWord::free(0))?,
        };
        Some(Spot { position, lap, slot, word })
    }

    /// Why there was nothing to look at.
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

    /// The same, starting from a position that has been passed, or leads on.
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

    // ---------------------------------------------------------------------------------------------- putting

    /// Puts a message if nothing at all stands in the way; false if something does, and nothing has been done. `aim` is
    /// told of the position before the try.
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

    /// Puts a message, or says why not.
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

    /// Has the ring, which is full, go on in its next section: marks the position at which a putter would have to wait,
    /// as a close does. `WouldBlock` if there is no other section.
    #[cold]
    fn grow(&self, full: &Spot) -> Result<(), Stop> {
        let next = self.positions().next_section(full.position).ok_or(Stop::WouldBlock)?;
        let (_, slot) = self.positions().split(next).ok_or(Stop::WouldBlock)?;
        // Before the mark: who comes there may close the ring, which must not fail.
        if !self.may_put(slot) {
            self.provide(slot)?;
        }
        self.swap_word(full.slot, full.word, full.word.grown());
        Ok(())
    }

    #[inline(always)]
    fn was_put(&self, at: Self::At<'_>, lap: u64, slot: u32) {
        self.expect(at, PUT_SOON);
        // Release: whoever goes by the hint sees the slot put.
        self.hint(Side::Space).store(self.positions().after(lap, slot), Release);
        self.after_swap();
        if self.event(Side::Items).load(Relaxed) & SLEEPERS != 0 {
            self.wake_one(Side::Items);
        }
    }

    /// Closes the ring: marks the first position where no message is, so that none will ever be. If the ring is full, its
    /// oldest message is in that slot, and leaves the mark behind when it is taken.
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

    // ---------------------------------------------------------------------------------------------- taking

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

    /// Takes a message that lies in a block, and leaves word of who took which.
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

    /// The message that the hint leads to, if it is of that kind and nothing at all stands in the way.
    #[inline(always)]
    fn peek(&self, what: What) -> Option<Peeked<Self::At<'_>>> {
        let (lap, slot, at) = self.reach(self.hint(Side::Items).load(Acquire), Side::Items)?;
        let ready = SlotWord::ready(lap, what);
        if self.word_at(at) != ready {
            return None;
        }
        Some(Peeked { at, ready, payload: self.payload_at(at), lap, slot })
    }

    /// Takes it, unless somebody else has.
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

    /// Takes a number if nothing at all stands in the way.
    #[inline(always)]
    fn take_number_at_once(&self) -> Option<u64> {
        let peeked = self.peek(What::NUMBER)?;
        self.take_peeked(&peeked).then_some(peeked.payload)
    }

    /// Takes the numbers that are next, as long as nothing stands in the way; says how many, and whether there was
    /// nothing behind them. The hint is moved, and putters are woken, once for all.
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
            // Nobody has taken anything meanwhile.
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
            // Nobody puts anything there any more, so it is where putters left.
            let end = if from.is_passed(Side::Space) { self.find_in_section(from, Side::Space)? } else { from };
            n += positions.distance(from.position, end.position).unwrap_or(0);
            let Some(next) = positions.next_section(from.position) else { return Ok(0) };
            from = self.look(next).ok_or_else(|| self.why_not(Some(next)))?;
        }
        Ok(n + positions.distance(from.position, tail).unwrap_or(0))
    }

    /// Whether no message was there.
    fn has_none(&self) -> Result<bool, Stop> {
        Ok(!self.find(Side::Items)?.is_ready())
    }

    /// Why a message could not be put, if it could not.
    fn has_room(&self) -> Result<(), Stop> {
        let spot = self.find(Side::Space)?;
        match self.may_go_on(&spot) {
            Err(Stop::WouldBlock) if self.positions().next_section(spot.position).is_some() => Ok(()),
            may => may,
        }
    }

    // ---------------------------------------------------------------------------------------------- sleeping

    /// Says that somebody is about to sleep; what the event count is from then on. After that comes a last look, and the
    /// sleep.
    fn announce(&self, side: Side) -> u32 {
        let seen = self.event(side).fetch_or(SLEEPERS, AcqRel) | SLEEPERS;
        self.after_swap();
        seen
    }

    /// Wakes who sleeps on one side, two at most.
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

    /// Wakes everybody who sleeps on an event count.
    fn wake_all(&self, event: &AtomicU32) {
        event.fetch_add(SEQUENCE, AcqRel);
        self.wake(event, u32::MAX);
    }
}
