//! [`Seats`]: some of a pool's seats, a bit for each, so that a search for them need not look at all seats.

use std::iter;

#[derive(Default)]
pub(super) struct Seats(Vec<u64>);

impl Seats {
    pub(super) fn insert(&mut self, seat: usize) {
        let word = seat / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (seat % 64);
    }

    pub(super) fn remove(&mut self, seat: usize) {
        if let Some(word) = self.0.get_mut(seat / 64) {
            *word &= !(1 << (seat % 64));
        }
    }

    pub(super) fn contains(&self, seat: usize) -> bool {
        self.0.get(seat / 64).is_some_and(|word| word & 1 << (seat % 64) != 0)
    }

    /// The first from `seat` on.
    pub(super) fn next_from(&self, seat: usize) -> Option<usize> {
        let first = self.0.get(seat / 64)? & u64::MAX << (seat % 64);
        let rest = self.0.iter().enumerate().skip(seat / 64 + 1);
        let mut words = iter::once((seat / 64, first)).chain(rest.map(|(at, word)| (at, *word)));
        let (at, word) = words.find(|(_, word)| *word != 0)?;
        Some(at * 64 + word.trailing_zeros() as usize)
    }

    /// In their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        iter::successors(self.next_from(0), |seat| self.next_from(seat + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_were_put_in_come_out_in_order() {
        let mut seats = Seats::default();
        let all = [0, 1, 63, 64, 127, 128, 1000];
        all.iter().rev().for_each(|seat| seats.insert(*seat));
        assert!(seats.iter().eq(all));
        assert!(all.iter().all(|seat| seats.contains(*seat)) && !seats.contains(2) && !seats.contains(5000));
        [0, 64, 1000, 5000].into_iter().for_each(|seat| seats.remove(seat));
        assert!(seats.iter().eq([1, 63, 127, 128]));
        assert_eq!((seats.next_from(64), seats.next_from(129), seats.next_from(5000)), (Some(127), None, None));
        assert_eq!(Seats::default().next_from(0), None);
    }
}
