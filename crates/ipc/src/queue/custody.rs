//! Which process has a block, on whatever memory; see README.md.
//!
//! A block passes to the ring, and from there to its taker, by the swap of the slot alone. Its record follows: a process
//! that needs it up to date does that on behalf of the taker. So no process ever waits for the taker.

use super::{
    ring::{Dequeue, Locate, Ring, Spot},
    word::{BlockId, BlockState, CellAt, Holder, Kind, Owner, Positions, Taken},
};

/// Where the block of a record is that says "at that place of the ring".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// Not in the ring, nor taken from it by a taker that the record does not name yet.
    Elsewhere,
    InRing,
    /// A getter has taken it from there, as this slot says.
    Taken(Spot, u64),
}

/// The records of a ring's blocks.
pub(crate) trait Custody: Ring {
    /// A record's word and place, each as of some moment.
    fn record(&self, block: BlockId) -> (u64, u64);

    /// Swaps a record's word and place together.
    fn swap_record(&self, block: BlockId, from: (u64, u64), to: (u64, u64)) -> bool;

    /// The participant at that index.
    fn holder_at(&self, owner: Owner) -> Option<Holder>;

    /// What a block's record becomes when its message is taken.
    fn when_taken(&self, by: Option<Holder>) -> BlockState;

    /// Takes the message that lies in a block out of the ring: the block, which is the caller's from now on. `None` if
    /// another getter took the message.
    fn take_from_ring(&self, spot: &Spot, payload: u64, me: Holder) -> Option<BlockId> {
        let block = BlockId::from_bits(payload);
        let taken = Taken { by: me.owner, block };
        if !self.take_block(spot, payload, taken.to_payload()) {
            return None;
        }
        self.pass_on(block, place_of(self.positions(), spot.lap, spot.slot), self.when_taken(Some(me)));
        Some(block)
    }

    /// Brings the record of the block up to date that was taken from a slot, as the slot says, the lap before.
    fn settle(&self, spot: &Spot, payload: u64) {
        let taken = Taken::from_payload(payload);
        let place = place_of(self.positions(), spot.lap.wrapping_sub(1), spot.slot);
        // An index passes to another participant only after every slot that names it has been settled.
        let to = self.when_taken(self.holder_at(taken.by));
        self.pass_on(taken.block, place, to);
    }

    /// Passes on a block that was at that place of the ring, unless that has been done.
    fn pass_on(&self, block: BlockId, place: u64, to: BlockState) {
        loop {
            let (word, at) = self.record(block);
            let state = BlockState::from_word(word);
            if at != place || !matches!(state, BlockState::Held(_) | BlockState::InRing) {
                return;
            }
            if self.swap_record(block, (word, at), (to.to_word(), 0)) {
                return;
            }
        }
    }

    /// Where a block is whose record says `place`. The answer is true if the record is unchanged when this returns.
    fn whereabouts(&self, block: BlockId, place: u64) -> Whereabouts {
        let Some(position) = place.checked_sub(1) else { return Whereabouts::Elsewhere };
        loop {
            let Some(spot) = self.look(position) else {
                // This process does not decide about a slot that it cannot read.
                let exists = self.positions().split(position).is_some();
                return if exists { Whereabouts::InRing } else { Whereabouts::Elsewhere };
            };
            // A place beyond the last lap looks like an earlier one, and would never be settled.
            let exists = place_of(self.positions(), spot.lap, spot.slot) == place;
            if !exists || self.word(spot.slot).is_none() {
                return Whereabouts::Elsewhere;
            }
            let Some((kind, payload)) = self.whole(&spot) else { continue };
            let is_next_lap = spot.word.laps_ahead_of(spot.lap) == 1;
            return match kind {
                Some(Kind::Block) if spot.is_ready() && BlockId::from_bits(payload) == block => Whereabouts::InRing,
                Some(Kind::Cell) if spot.is_ready() && CellAt::from_payload(payload).block() == block => {
                    Whereabouts::InRing
                }
                None if is_next_lap && spot.word.is_taken() && Taken::from_payload(payload).block == block => {
                    Whereabouts::Taken(Spot { lap: spot.word.lap(), ..spot }, payload)
                }
                _ => Whereabouts::Elsewhere,
            };
        }
    }

    /// Settles a record that says that its block is somewhere in the ring, or that `dead` holds it: true if the block had
    /// no owner, and its record says `to` now.
    fn collect(&self, block: BlockId, dead: Option<Holder>, to: BlockState) -> bool {
        loop {
            let (word, place) = self.record(block);
            let is_meant = match BlockState::from_word(word) {
                BlockState::InRing => true,
                BlockState::Held(holder) => Some(holder) == dead,
                _ => false,
            };
            if !is_meant {
                return false;
            }
            match self.whereabouts(block, place) {
                Whereabouts::InRing => {
                    let in_ring = BlockState::InRing.to_word();
                    if word == in_ring || self.swap_record(block, (word, place), (in_ring, place)) {
                        return false;
                    }
                }
                Whereabouts::Taken(spot, payload) => self.settle(&spot, payload),
                Whereabouts::Elsewhere => {
                    if self.swap_record(block, (word, place), (to.to_word(), 0)) {
                        return true;
                    }
                }
            }
        }
    }
}

/// A position as records have it: never 0.
pub(crate) fn place_of(positions: &Positions, lap: u64, slot: u32) -> u64 {
    positions.join(lap & ((1 << 48) - 1), slot).wrapping_add(1)
}
