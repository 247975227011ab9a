//! The processes that use a queue: a table of participants, so that a word can name one in 13 bits.
//!
//! An entry is one word: it is taken by one compare-and-swap, and there is no moment at which it has an owner that it does
//! not name. Entry 0 stays empty, so owner 0 means none. The entry of a dead participant is cleared only after every word
//! that named it has been settled (`garbage.rs`).

use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

use kernel::liveness::Participant;

use super::{layout::PARTICIPANTS, word::Owner};

/// A table in shared memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Participants<'a>(pub(crate) &'a [AtomicU64; PARTICIPANTS]);

impl Participants<'_> {
    /// Takes an empty entry; `None` if there is none.
    pub(crate) fn enter(self, participant: Participant) -> Option<Owner> {
        let entry = participant.to_word();
        // Acquire: all words that named the entry's former owner have been settled. Release: a process that reads the entry
        // sees what this participant did before.
        let free = |i: &usize| self.0[*i].compare_exchange(0, entry, AcqRel, Relaxed).is_ok();
        (1..PARTICIPANTS).find(free).map(|i| Owner(i as u16))
    }

    /// Gives an entry back, if it is still that participant's.
    pub(crate) fn leave(self, owner: Owner, participant: Participant) {
        if let Some(entry) = self.0.get(usize::from(owner.0)) {
            // Release: all words that named the entry are settled before another can have it.
            let _ = entry.compare_exchange(participant.to_word(), 0, AcqRel, Relaxed);
        }
    }

    /// Whose entry it is. To be read *after* the word that named it: an index is given to another only once no word
    /// names it, so the word cannot be a later bearer's.
    pub(crate) fn at(self, owner: Owner) -> Option<Participant> {
        // Acquire: as ordered as the caller needs it, after the word that named the entry was read.
        Participant::from_word(self.0.get(usize::from(owner.0))?.load(Acquire))
    }

    /// The entries that are taken.
    pub(crate) fn taken(self) -> impl Iterator<Item = (Owner, Participant)> {
        (1..PARTICIPANTS).map(|i| Owner(i as u16)).filter_map(move |owner| Some((owner, self.at(owner)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_taken_once_and_given_back() {
        let table = [const { AtomicU64::new(0) }; PARTICIPANTS];
        let table = Participants(&table);
        let participant = |n: u64| Participant::from_word(n << 28 | 1).unwrap();
        let owners: Vec<_> = (1..PARTICIPANTS).map(|_| table.enter(participant(7)).unwrap()).collect();
        assert_eq!(table.enter(participant(7)), None);
        assert!(owners.iter().all(|owner| owner.0 != 0 && table.at(*owner) == Some(participant(7))));
        table.leave(owners[5], participant(8));
        assert_eq!(table.at(owners[5]), Some(participant(7)));
        table.leave(owners[5], participant(7));
        assert_eq!(table.at(owners[5]), None);
        assert_eq!(table.enter(participant(9)), Some(owners[5]));
        assert_eq!(table.at(Owner(5000)), None);
    }
}
