//! A participant as one word of shared memory.
//!
//! | bits | meaning |
//! |---|---|
//! | 0..2 | its [`Witness`] |
//! | 2..6 | its pid namespace: an index into [`RegisterWords`](super::RegisterWords), 0 if unknown |
//! | 6..28 | its pid there |
//! | 28..64 | its number: no two participants of a register have the same |

use std::num::NonZero;

/// A process among those that use a segment, from when it entered until it left or died; never another's afterwards.
///
/// As a word of shared memory it is never 0, so that 0 can mean none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Participant(NonZero<u64>);

/// What tells whether a participant is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Witness {
    /// A lock that the kernel drops at the participant's end. Right for every observer.
    Lock,
    /// Its pid, where the participant could not take a lock. Right for observers of the same pid namespace; to the others
    /// it is never dead.
    Pid,
}

const NAMESPACE_SHIFT: u32 = 2;
const PID_SHIFT: u32 = 6;
/// The kernel's own limit for pids.
const PID_BITS: u32 = 22;
const NUMBER_SHIFT: u32 = PID_SHIFT + PID_BITS;

pub(super) const NAMESPACES: usize = (1 << (PID_SHIFT - NAMESPACE_SHIFT)) - 1;
/// Participants are counted up to here, and then from 0 again.
pub(super) const NUMBERS: u64 = 1 << (64 - NUMBER_SHIFT);

impl Participant {
    pub(super) fn new(witness: Witness, namespace: usize, pid: u32, number: u64) -> Self {
        let witness: u64 = match witness {
            Witness::Lock => 1,
            Witness::Pid => 2,
        };
        let namespace = (namespace as u64 & NAMESPACES as u64) << NAMESPACE_SHIFT;
        let pid = (u64::from(pid) & ((1 << PID_BITS) - 1)) << PID_SHIFT;
        Self(NonZero::new(number << NUMBER_SHIFT | pid | namespace | witness).expect("a witness is not 0"))
    }

    /// As one word; never 0.
    pub fn to_word(self) -> u64 {
        self.0.get()
    }

    /// The participant that [`to_word`](Self::to_word) made the word of; `None` for 0. Any other word is taken for one.
    pub fn from_word(word: u64) -> Option<Self> {
        NonZero::new(word).map(Self)
    }

    /// What tells whether it is alive; `None` for a word that no process ever wrote.
    pub fn witness(self) -> Option<Witness> {
        match self.0.get() & 3 {
            1 => Some(Witness::Lock),
            2 => Some(Witness::Pid),
            _ => None,
        }
    }

    /// The pid of the process, as itself sees it: for a message to a person. In another pid namespace it is another
    /// process's, or no process's; and so it may be after the process's end.
    pub fn pid(self) -> u32 {
        (self.0.get() >> PID_SHIFT) as u32 & ((1 << PID_BITS) - 1)
    }

    /// A number of 36 bits that no other participant of the register has.
    pub fn number(self) -> u64 {
        self.0.get() >> NUMBER_SHIFT
    }

    pub(super) fn namespace(self) -> usize {
        (self.0.get() >> NAMESPACE_SHIFT) as usize & NAMESPACES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_says_what_was_put_into_it() {
        let participant = Participant::new(Witness::Pid, NAMESPACES, (1 << PID_BITS) - 1, NUMBERS - 1);
        let same = Participant::from_word(participant.to_word()).unwrap();
        assert_eq!((same.witness(), same.namespace()), (Some(Witness::Pid), NAMESPACES));
        assert_eq!((same.pid(), same.number()), ((1 << PID_BITS) - 1, NUMBERS - 1));
        assert_eq!(Participant::from_word(0), None);
        assert_eq!(Participant::from_word(4).unwrap().witness(), None);
    }
}
