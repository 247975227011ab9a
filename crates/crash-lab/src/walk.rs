//! The way of an actor through its window, noted once, and how to bring another run of it to the same place.
//!
//! A run is stopped at addresses, which costs less than to stop it at each instruction; single steps go only where an address
//! does not tell one moment from another. Another run may look at a clock more often, but it comes to a new address when the
//! first did.

use std::collections::HashSet;

use crate::mode::sample;

/// The moments of an actor up to the end of its window, or to where nobody can wake it.
pub(crate) struct Walk {
    /// Before each of its instructions, and after the last.
    pub(crate) moments: Vec<Moment>,
    /// The moments whose instruction changes the shared memory.
    pub(crate) changes: Vec<usize>,
}

/// Where an actor stands.
pub(crate) struct Moment {
    /// Of the next instruction.
    pub(crate) address: u64,
    /// It came here by executing one instruction.
    pub(crate) by_step: bool,
    /// How many instructions it has executed since it last slept.
    pub(crate) n_alone: u64,
}

/// A moment, and the way there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// So many instructions after the window's begin.
    pub(crate) at: usize,
    /// The last address on the way that is a new one there.
    anchor: Option<u64>,
    /// An address to which it comes so often after that.
    turns: (u64, usize),
    /// So many steps are left from there, and so many have been made since it last slept.
    pub(crate) n_steps: usize,
    pub(crate) n_alone: u64,
}

impl Place {
    /// The addresses to run to, one after another.
    pub(crate) fn stations(&self) -> impl Iterator<Item = u64> + use<> {
        let (address, n) = self.turns;
        self.anchor.into_iter().chain(std::iter::repeat_n(address, n))
    }
}

impl Walk {
    /// Its number of instructions.
    pub(crate) fn n(&self) -> u64 {
        self.moments.len() as u64 - 1
    }

    /// At most `most` of its moments, in their order: those before changes, and others at equal distances. Where one
    /// instruction is repeated, as a copy of bytes is, the first two of its moments stand for all.
    pub(crate) fn places(&self, most: usize) -> Vec<Place> {
        let n = self.n();
        let mut at: Vec<usize> = if n < most as u64 {
            (0..=n as usize).collect()
        } else {
            let changes: Vec<usize> = self.changes.iter().copied().filter(|at| self.is_telling(*at)).collect();
            let wanted = changes.len().min(most * 3 / 4);
            let of_changes =
                sample((changes.len() as u64).saturating_sub(1), wanted as u64).filter_map(|c| changes.get(c as usize));
            let evenly = sample(n, (most - wanted) as u64).map(|at| self.begin_of(at as usize));
            of_changes.copied().chain(evenly).collect()
        };
        at.sort_unstable();
        at.dedup();
        at.into_iter().map(|at| self.place(at)).collect()
    }

    /// Whether the instruction before this moment was another one.
    fn is_entry(&self, at: usize) -> bool {
        let Moment { address, by_step, .. } = self.moments[at];
        at == 0 || (by_step && self.moments[at - 1].address != address)
    }

    fn is_telling(&self, at: usize) -> bool {
        self.is_entry(at) || self.is_entry(at - 1) || !self.moments[at].by_step
    }

    /// The first moment of an instruction that is being repeated.
    fn begin_of(&self, at: usize) -> usize {
        let is_last = at + 1 == self.moments.len();
        (0..=at).rev().find(|at| is_last || self.is_entry(*at) || !self.moments[*at].by_step).unwrap_or(at)
    }

    fn place(&self, at: usize) -> Place {
        let mut known = HashSet::new();
        let (mut anchor, mut last_entry) = (0, 0);
        for i in (0..=at).filter(|i| self.is_entry(*i)) {
            last_entry = i;
            if known.insert(self.moments[i].address) {
                anchor = i;
            }
        }
        let Moment { address, n_alone, .. } = self.moments[last_entry];
        let is_turn = |i: &usize| self.is_entry(*i) && self.moments[*i].address == address;
        Place {
            at,
            anchor: (anchor > 0).then(|| self.moments[anchor].address),
            turns: (address, (anchor + 1..=last_entry).filter(is_turn).count()),
            n_steps: at - last_entry,
            n_alone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A walk along these addresses.
    fn walk(addresses: &[u64], changes: &[usize]) -> Walk {
        let moment = |(at, address): (usize, &u64)| Moment { address: *address, by_step: at > 0, n_alone: at as u64 };
        Walk { moments: addresses.iter().enumerate().map(moment).collect(), changes: changes.to_vec() }
    }

    fn at(walk: &Walk, most: usize) -> Vec<usize> {
        walk.places(most).iter().map(|place| place.at).collect()
    }

    fn straight(n: u64, changes: &[usize]) -> Walk {
        walk(&(0..=n).collect::<Vec<_>>(), changes)
    }

    #[test]
    fn places_are_all_or_the_changes_and_a_sample() {
        assert_eq!(at(&straight(3, &[1]), 8), [0, 1, 2, 3]);
        assert_eq!(at(&straight(100, &[7, 60, 93]), 8), [0, 7, 25, 50, 60, 75, 93, 100]);
        assert_eq!(at(&straight(100, &(0..100).collect::<Vec<_>>()), 8), [0, 19, 39, 59, 79, 99, 100]);
        assert_eq!(at(&straight(100, &[]), 3), [0, 50, 100]);
    }

    #[test]
    fn a_repeated_instruction_is_held_before_it_and_once_in_its_midst() {
        let addresses = [vec![1, 2], vec![3; 50], vec![4, 5]].concat();
        let copying = walk(&addresses, &(2..52).collect::<Vec<_>>());
        assert_eq!(at(&copying, 8), [0, 2, 3, 53]);
        let [_, before, midst, _] = &copying.places(8)[..] else { panic!("four of them") };
        assert_eq!((before.anchor, before.turns.1, before.n_steps), (Some(3), 0, 0));
        assert_eq!((midst.anchor, midst.turns.1, midst.n_steps, midst.n_alone), (Some(3), 0, 1, 2));
    }

    #[test]
    fn a_place_in_a_loop_is_a_number_of_turns_after_the_last_new_address() {
        let looping = walk(&[1, 2, 3, 2, 3, 2, 3, 4], &[]);
        let place = |at| looping.place(at);
        assert_eq!((place(0).stations().count(), place(0).n_steps), (0, 0));
        assert_eq!(place(2).stations().collect::<Vec<_>>(), [3]);
        assert_eq!(place(5).stations().collect::<Vec<_>>(), [3, 2, 2]);
        assert_eq!(place(7).stations().collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn steps_lead_on_from_where_an_actor_goes_from_call_to_call() {
        let mut calling = straight(9, &[]);
        for moment in &mut calling.moments[6..] {
            moment.by_step = false;
        }
        let place = calling.place(8);
        assert_eq!((place.anchor, place.n_steps, place.n_alone), (Some(5), 3, 5));
    }
}
