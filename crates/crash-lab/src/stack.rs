//! A stack of free numbers. It is sound if a count beside the top changes with each swap. Without the count it has the
//! ABA fault: a top that was taken and given back looks like one that stayed. The lab tests itself on it.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
};

use proc_core::shm::Shared;
use serde::{Deserialize, Serialize};

/// Numbers below this, each free at first.
pub(crate) const N_NUMBERS: u64 = 4;

const NOBODY: u64 = 0xff;
const TOP: usize = N_NUMBERS as usize;

/// Handed over as a value; clones are the same list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stack {
    /// For each number, the one below it; then the top, with the count above its lowest byte.
    words: Shared<[AtomicU64; TOP + 1]>,
    counts: bool,
}

impl Stack {
    pub(crate) fn new(counts: bool) -> io::Result<Self> {
        let stack = Self { words: Shared::new([const { AtomicU64::new(NOBODY) }; TOP + 1])?, counts };
        (0..N_NUMBERS).rev().for_each(|number| stack.push(number));
        Ok(stack)
    }

    /// Takes the top.
    pub(crate) fn pop(&self) -> Option<u64> {
        loop {
            let top = self.words[TOP].load(SeqCst);
            let number = top & NOBODY;
            if number == NOBODY {
                return None;
            }
            let below = self.words[number as usize].load(SeqCst);
            if self.swap_top(top, below) {
                return Some(number);
            }
        }
    }

    /// Gives a number back.
    pub(crate) fn push(&self, number: u64) {
        loop {
            let top = self.words[TOP].load(SeqCst);
            self.words[number as usize].store(top & NOBODY, SeqCst);
            if self.swap_top(top, number) {
                return;
            }
        }
    }

    fn swap_top(&self, top: u64, number: u64) -> bool {
        let count = if self.counts { (top >> 8).wrapping_add(1) << 8 } else { 0 };
        self.words[TOP].compare_exchange(top, count | number, SeqCst, SeqCst).is_ok()
    }
}
