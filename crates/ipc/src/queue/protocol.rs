//! The steps of the ring, on whatever memory: a queue's, or that of a model, in which loom tries every interleaving of
//! them. What they add up to is in README.md.

use std::{
    io,
    ptr::NonNull,
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release},
};

#[cfg(all(test, loom))]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, fence};
#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, fence};

use super::word::{Owner, Phase, Positions, SlotWord, next_lap, previous_lap};

/// Bits of an event count, see `events.rs`.
pub(crate) const SLEEPERS: u32 = 1;
pub(crate) const CLOSING: u32 = 2;
pub(crate) const CLOSED: u32 = 4;
const SEQUENCE: u32 = 8;

/// How far a getter looks past slots whose writers are slow.
const LOOK_AHEAD: u32 = 64;

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
    Level,
    /// The slot whose turn it is belongs to another process at this moment.
    Held(u32, SlotWord),
    Closed,
    Damaged,
    System(io::ErrorKind),
}

/// The part of a slot that every slot has.
#[repr(C)]
pub(crate) struct SlotHead {
    pub(crate) word: AtomicU64,
    /// The message, if it is a number; or else where it is, see `Meta`. Belongs to the slot's owner, and to nobody
    /// while it is ready.
    pub(crate) meta: AtomicU64,
}

/// A slot that this process owns, or is about to, for one lap.
#[derive(Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub(crate) head: &'a SlotHead,
    pub(crate) payload: NonNull<u8>,
    pub(crate) lap: u64,
    pub(crate) slot: u32,
}

impl Claim<'_> {
    /// Moves the slot's word on, if it is still what it was.
    #[inline]
    pub(crate) fn advance(&self, from: SlotWord, to: SlotWord) -> bool {
        // Acquire: what the former owner did with the payload is done.
        self.head.word.compare_exchange(from.0, to.0, Acquire, Relaxed).is_ok()
    }

    /// Takes the number of a slot that was found ready, unless somebody else does: looked at first, then claimed and
    /// given up in one step. A word does not repeat, so what was looked at is what was claimed.
    #[inline]
    fn take_number(&self, ready: SlotWord) -> Option<u64> {
        let number = self.head.meta.load(Relaxed);
        let free = SlotWord::free(next_lap(self.lap)).0;
        // Release: the look at the number comes before whatever the next putter does with the slot.
        self.head.word.compare_exchange(ready.0, free, AcqRel, Relaxed).is_ok().then_some(number)
    }
}

/// A message that is this process's, and maybe still in the ring.
pub(crate) enum Claimed<'a> {
    /// It was this number.
    Number(u64),
    Slot(Claim<'a>),
}

/// A message that a slot holds.
pub(crate) trait Short {
    /// Writes it into a slot that is ours; says what the slot's word becomes.
    fn write(&self, claim: &Claim<'_>) -> SlotWord;
}

impl Short for u64 {
    #[inline(always)]
    fn write(&self, claim: &Claim<'_>) -> SlotWord {
        claim.head.meta.store(*self, Relaxed);
        SlotWord::ready_number(claim.lap)
    }
}

/// A ring's memory, and what can be done with it.
pub(crate) trait Ring {
    fn positions(&self) -> Positions;

    /// The tail for those who look for space, the head for those who look for items.
    fn hint(&self, side: Side) -> &AtomicU64;

    fn event(&self, side: Side) -> &AtomicU32;

    /// The slot of a position and its word; `None` if there is no such slot, or no memory behind it yet.
    fn slot_at(&self, position: u64) -> Option<(Claim<'_>, SlotWord)>;

    /// What to do where `slot_at` found none; false if there is none yet, and none is needed.
    fn provide(&self, position: u64, side: Side) -> Result<bool, Stop>;

    /// Nothing in this memory is believed any more.
    fn quarantine(&self) -> Stop;

    /// Between a publication and the look at who sleeps; a sleeper has the other half.
    fn light(&self);

    /// Wakes so many of those who sleep on an event count; says how many there were.
    fn wake(&self, event: &AtomicU32, n: u32) -> usize;

    /// Gives up a slot whose message goes back to its putter.
    fn take_back(&self, claim: &Claim<'_>) {
        self.free_slot(claim);
    }

    /// How many steps honest memory can need; the limit is for the other kind.
    #[inline]
    fn step_limit(&self) -> u32 {
        self.positions().capacity.saturating_mul(4).saturating_add(64)
    }

    // ---------------------------------------------------------------------------------------------- writing

    /// Puts a short message if nothing at all stands in the way; false if something does, and nothing has been done.
    #[inline(always)]
    fn put_at_once<M: Short + ?Sized>(&self, message: &M, me: Owner) -> Result<bool, Stop> {
        let tail = self.hint(Side::Space);
        let Some((claim, word)) = self.slot_at(tail.load(Relaxed)) else { return Ok(false) };
        if self.event(Side::Items).load(Relaxed) & (CLOSING | CLOSED) != 0
            || word != SlotWord::free(claim.lap)
            || !claim.advance(word, SlotWord::writing(claim.lap, me))
        {
            return Ok(false);
        }
        tail.store(self.positions().after(claim.lap, claim.slot), Relaxed);
        let ready = message.write(&claim);
        self.publish(&claim, ready, me)?;
        Ok(true)
    }

    /// Puts a short message, or says why not.
    fn try_put<M: Short + ?Sized>(&self, message: &M, me: Owner) -> Result<(), Stop> {
        let claim = self.claim_write(me)?;
        let ready = message.write(&claim);
        self.publish(&claim, ready, me)
    }

    /// Claims the next slot for writing.
    fn claim_write(&self, me: Owner) -> Result<Claim<'_>, Stop> {
        if self.event(Side::Items).load(Relaxed) & (CLOSING | CLOSED) != 0 {
            return Err(Stop::Closed);
        }
        let tail = self.hint(Side::Space);
        let mut position = tail.load(Relaxed);
        for _ in 0..self.step_limit() {
            let Some((claim, word)) = self.slot_at(position) else {
                self.provide(position, Side::Space)?;
                continue;
            };
            let next = self.positions().after(claim.lap, claim.slot);
            match (word.laps_ahead_of(claim.lap), word.phase()) {
                (_, Phase::Invalid) => return Err(self.quarantine()),
                (0, Phase::Free) => {
                    if claim.advance(word, SlotWord::writing(claim.lap, me)) {
                        tail.store(next, Relaxed);
                        return Ok(claim);
                    }
                    position = next;
                }
                (0, _) => position = next,
                (1.., _) => position = self.positions().after(previous_lap(word.lap()), claim.slot),
                (_, Phase::Writing | Phase::Reading) => return Err(Stop::Held(claim.slot, word)),
                (_, _) => return Err(Stop::Level),
            }
        }
        Err(Stop::Level)
    }

    /// Makes a claimed slot's message everybody's; `Closed` if the queue was closed meanwhile and nobody took it.
    #[inline]
    fn publish(&self, claim: &Claim<'_>, ready: SlotWord, me: Owner) -> Result<(), Stop> {
        claim.head.word.store(ready.0, Release);
        self.light();
        let items = self.event(Side::Items).load(Relaxed);
        if items & (SLEEPERS | CLOSING | CLOSED) == 0 { Ok(()) } else { self.published(claim, ready, items, me) }
    }

    #[cold]
    fn published(&self, claim: &Claim<'_>, ready: SlotWord, items: u32, me: Owner) -> Result<(), Stop> {
        if items & (CLOSING | CLOSED) != 0 {
            // Whoever finds the queue closed and empty never comes back: take the message out again, if it is there.
            let Some(taken) = self.claim_ready(*claim, ready, me) else { return Ok(()) };
            if let Claimed::Slot(claim) = taken {
                self.take_back(&claim);
            }
            // Who saw the slot being written to waits for what becomes of it.
            self.wake_all(self.event(Side::Items));
            return Err(Stop::Closed);
        }
        self.wake_one(Side::Items);
        Ok(())
    }

    // ---------------------------------------------------------------------------------------------- reading

    /// Takes a number if nothing at all stands in the way.
    #[inline(always)]
    fn take_number_at_once(&self) -> Option<u64> {
        let head = self.hint(Side::Items);
        let (claim, word) = self.slot_at(head.load(Relaxed))?;
        if word != SlotWord::ready_number(claim.lap) {
            return None;
        }
        let number = claim.take_number(word)?;
        head.store(self.positions().after(claim.lap, claim.slot), Relaxed);
        self.slot_is_free();
        Some(number)
    }

    /// Takes the numbers that are next, as long as nothing stands in the way; says how many, and whether there was
    /// nothing behind them. The hint is moved, and putters are woken, once for all: whoever dies before is made up for
    /// as one is who dies between its claim and these.
    fn take_numbers(&self, into: &mut [u64]) -> (usize, bool) {
        let head = self.hint(Side::Items);
        let mut position = head.load(Relaxed);
        let (mut n, mut is_end) = (0, false);
        while n < into.len()
            && let Some((claim, word)) = self.slot_at(position)
        {
            if word != SlotWord::ready_number(claim.lap) {
                is_end = word == SlotWord::free(claim.lap);
                break;
            }
            let Some(number) = claim.take_number(word) else { break };
            into[n] = number;
            n += 1;
            position = self.positions().after(claim.lap, claim.slot);
        }
        if n > 0 {
            head.store(position, Relaxed);
            self.slot_is_free();
        }
        (n, is_end)
    }

    /// Claims the message of a slot that was found ready, if nobody else has: a number leaves its slot at once.
    fn claim_ready<'a>(&self, claim: Claim<'a>, word: SlotWord, me: Owner) -> Option<Claimed<'a>> {
        if word.is_number() {
            let number = claim.take_number(word)?;
            self.slot_is_free();
            return Some(Claimed::Number(number));
        }
        claim.advance(word, SlotWord::reading(claim.lap, me)).then_some(Claimed::Slot(claim))
    }

    /// Claims the next message for reading. A `patient` getter has waited for a slow writer, and may pass over it.
    fn claim_read(&self, patient: bool, me: Owner) -> Result<Claimed<'_>, Stop> {
        let head = self.hint(Side::Items);
        let first = head.load(Relaxed);
        let mut position = first;
        let mut stop = Stop::Level;
        for _ in 0..self.step_limit() {
            let Some((claim, word)) = self.slot_at(position) else {
                if self.provide(position, Side::Items)? {
                    continue;
                }
                break;
            };
            let next = self.positions().after(claim.lap, claim.slot);
            match (word.laps_ahead_of(claim.lap), word.phase()) {
                (_, Phase::Invalid) => return Err(self.quarantine()),
                (0, Phase::Ready) => {
                    if let Some(claimed) = self.claim_ready(claim, word, me) {
                        head.store(next, Relaxed);
                        return Ok(claimed);
                    }
                }
                (0, Phase::Reading) => position = next,
                (1.., _) => position = self.positions().after(previous_lap(word.lap()), claim.slot),
                (0, Phase::Writing) => {
                    stop = Stop::Held(claim.slot, word);
                    if patient && let Some(claimed) = self.claim_beyond(position, me) {
                        return Ok(claimed);
                    }
                    break;
                }
                (_, _) => break,
            }
        }
        if position != first {
            head.store(position, Relaxed);
        }
        Err(stop)
    }

    /// Claims a message behind slots whose writers are slow. They have not put theirs yet, so nothing is overtaken.
    fn claim_beyond(&self, from: u64, me: Owner) -> Option<Claimed<'_>> {
        let ring = self.positions();
        // So that slots that another process has had made are seen.
        let _ = self.provide(from, Side::Items);
        let mut position = from;
        for _ in 0..LOOK_AHEAD.min(ring.capacity - 1) {
            let (lap, slot) = ring.split(position)?;
            position = ring.after(lap, slot);
            let (claim, word) = self.slot_at(position)?;
            if word.is_ready(claim.lap) {
                // What became ready before this one must be taken before it.
                fence(Acquire);
                if self.any_ready_between(from, position) {
                    return None;
                }
                if let Some(claimed) = self.claim_ready(claim, word, me) {
                    return Some(claimed);
                }
            } else if word.laps_ahead_of(claim.lap) < 0 || word == SlotWord::free(claim.lap) {
                return None;
            }
        }
        None
    }

    fn any_ready_between(&self, from: u64, to: u64) -> bool {
        let mut position = from;
        while position != to {
            let Some((claim, word)) = self.slot_at(position) else { return false };
            if word.is_ready(claim.lap) {
                return true;
            }
            position = self.positions().after(claim.lap, claim.slot);
        }
        false
    }

    /// Gives a slot that was read to the next lap.
    #[inline]
    fn free_slot(&self, claim: &Claim<'_>) {
        claim.head.word.store(SlotWord::free(next_lap(claim.lap)).0, Release);
        self.slot_is_free();
    }

    /// Wakes a putter that sleeps, after a slot has become free.
    #[inline]
    fn slot_is_free(&self) {
        self.light();
        if self.event(Side::Space).load(Relaxed) & SLEEPERS != 0 {
            self.wake_one(Side::Space);
        }
    }

    // ---------------------------------------------------------------------------------------------- others

    /// Frees a slot whose owner is dead, if its word is still the one that named it: a message half written never was,
    /// one half read is gone with its reader.
    fn free_of_the_dead(&self, place: &AtomicU64, word: SlotWord) {
        let freed = SlotWord::free(next_lap(word.lap()));
        if place.compare_exchange(word.0, freed.0, AcqRel, Relaxed).is_ok() {
            self.wake_one(Side::Space);
            self.wake_one(Side::Items);
        }
    }

    /// Says that somebody is about to sleep; what the event count is from then on. After that comes the sleeper's half
    /// of `light`, a last look, and the sleep.
    fn announce(&self, side: Side) -> u32 {
        self.event(side).fetch_or(SLEEPERS, AcqRel) | SLEEPERS
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
