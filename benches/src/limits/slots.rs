//! The least that a queue of numbers between many can be: slots of sixteen bytes, each a word and a number.
//!
//! A slot's word says which position it is for, and what is there. Whoever puts claims it by one compare-and-swap, and stores
//! the number and the word; whoever takes reads the number and has it by one compare-and-swap. Where to begin to look is a hint,
//! stored plainly. Nobody sleeps, and nobody may die.

use std::{
    io,
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use proc_core::shm::Shared;
use serde::{Deserialize, Serialize};

use crate::crew::Lane;

const CAPACITY: u64 = 1024;
const N_SPINS: u32 = 2000;

/// Where the hints are, each in cache lines of its own, and from where on the slots.
const HEAD: usize = 0;
const TAIL: usize = 16;
const SLOTS: usize = 32;
const N_WORDS: usize = SLOTS + 2 * CAPACITY as usize;

/// What a word says beside its position.
const FREE: u64 = 0;
const CLAIMED: u64 = 1;
const READY: u64 = 2;

fn word(position: u64, phase: u64) -> u64 {
    4 * position + phase
}

/// See the module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Slots(Shared<[AtomicU64; N_WORDS]>);

impl Slots {
    /// An empty one.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn new() -> io::Result<Self> {
        let slots = Self(Shared::new([const { AtomicU64::new(0) }; N_WORDS])?);
        (0..CAPACITY).for_each(|position| slots.slot(position)[0].store(word(position, FREE), Relaxed));
        Ok(slots)
    }

    fn slot(&self, position: u64) -> &[AtomicU64] {
        let at = SLOTS + 2 * (position % CAPACITY) as usize;
        &self.0[at..at + 2]
    }

    /// Goes on from `hint` until `attempt` succeeds at a position; it says whether that is behind (true), or not there yet.
    fn walk<R>(hint: &AtomicU64, attempt: impl Fn(u64) -> Result<R, bool>) -> R {
        let (mut position, mut n_spins) = (hint.load(Relaxed), 0);
        loop {
            match attempt(position) {
                Ok(value) => {
                    hint.store(position + 1, Relaxed);
                    return value;
                }
                Err(true) => position += 1,
                Err(false) => {
                    n_spins += 1;
                    if n_spins < N_SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
                }
            }
        }
    }
}

impl Lane for Slots {
    fn put(&self, n: u64) {
        Self::walk(&self.0[TAIL], |position| {
            let slot = self.slot(position);
            let free = word(position, FREE);
            match slot[0].compare_exchange(free, word(position, CLAIMED), Acquire, Relaxed) {
                Ok(_) => {
                    slot[1].store(n, Relaxed);
                    slot[0].store(word(position, READY), Release);
                    Ok(())
                }
                Err(found) => Err(found > free),
            }
        });
    }

    fn get(&self) -> u64 {
        Self::walk(&self.0[HEAD], |position| {
            let slot = self.slot(position);
            let (ready, found) = (word(position, READY), slot[0].load(Acquire));
            if found != ready {
                return Err(found > ready);
            }
            // Nobody changes it before the word, which then is another.
            let n = slot[1].load(Relaxed);
            let free = word(position + CAPACITY, FREE);
            slot[0].compare_exchange(ready, free, Release, Relaxed).map(|_| n).map_err(|found| found > ready)
        })
    }

    fn copy(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_comes_out_once() {
        const N_EACH: u64 = 20_000;
        let slots = Slots::new().unwrap();
        let sum: u64 = std::thread::scope(|scope| {
            for from in [0, N_EACH] {
                let slots = slots.copy();
                scope.spawn(move || (from..from + N_EACH).for_each(|n| slots.put(n)));
            }
            let take = || (0..N_EACH).map(|_| slots.get()).sum::<u64>();
            let takers = [scope.spawn(take), scope.spawn(take)];
            takers.into_iter().map(|taker| taker.join().unwrap()).sum()
        });
        assert_eq!(sum, (0..2 * N_EACH).sum::<u64>());
    }
}
