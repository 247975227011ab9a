//! Who uses a queue: a table of processes, so that a word can name its owner in 13 bits.
//!
//! An entry is one word, pid and start time together: it is taken by one compare-and-swap, and there is no moment at
//! which it belongs to somebody unnamed. Entry 0 stays empty, so owner 0 is nobody. The entry of a dead process is
//! cleared only after every word that named it has been settled (`recovery.rs`).

use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

use proc_core::identity::ProcessId;

use super::{layout::PARTICIPANTS, word::Owner};

/// A table in shared memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Participants<'a>(pub(crate) &'a [AtomicU64; PARTICIPANTS]);

impl Participants<'_> {
    /// Takes an empty entry; `None` if there is none.
    pub(crate) fn enter(self, process: ProcessId) -> Option<Owner> {
        let entry = process.to_word();
        let free = |i: &usize| self.0[*i].compare_exchange(0, entry, AcqRel, Relaxed).is_ok();
        (1..PARTICIPANTS).find(free).map(|i| Owner(i as u16))
    }

    /// Gives an entry back, if it is still that process's.
    pub(crate) fn leave(self, owner: Owner, process: ProcessId) {
        if let Some(entry) = self.0.get(usize::from(owner.0)) {
            let _ = entry.compare_exchange(process.to_word(), 0, AcqRel, Relaxed);
        }
    }

    /// Whose entry it is. To be read *after* the word that named it: an index is given to another process only once
    /// no word names it, so the word cannot be a later bearer's.
    pub(crate) fn process(self, owner: Owner) -> Option<ProcessId> {
        let entry = self.0.get(usize::from(owner.0))?.load(Acquire);
        (entry != 0).then(|| ProcessId::from_word(entry))
    }

    /// The entries that are taken.
    pub(crate) fn taken(self) -> impl Iterator<Item = (Owner, ProcessId)> {
        (1..PARTICIPANTS).map(|i| Owner(i as u16)).filter_map(move |owner| Some((owner, self.process(owner)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_taken_once_and_given_back() {
        let table = [const { AtomicU64::new(0) }; PARTICIPANTS];
        let table = Participants(&table);
        let me = ProcessId::current();
        let owners: Vec<_> = (1..PARTICIPANTS).map(|_| table.enter(me).unwrap()).collect();
        assert_eq!(table.enter(me), None);
        assert!(owners.iter().all(|owner| owner.0 != 0 && table.process(*owner) == Some(me)));
        table.leave(owners[5], ProcessId { pid: me.pid + 1, ..me });
        assert_eq!(table.process(owners[5]), Some(me));
        table.leave(owners[5], me);
        assert_eq!(table.process(owners[5]), None);
        assert_eq!(table.enter(me), Some(owners[5]));
        assert_eq!(table.process(Owner(5000)), None);
    }
}
