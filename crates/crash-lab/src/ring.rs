//! A ring in which a claim is a swap on a slot, and head and tail are only hints. It is sound, or has the fault that a
//! late hint makes a getter jump over a message. The lab tests itself on it.
//!
//! # State table
//! A slot's word is its lap, times four, and a phase: free, writing, ready, reading; then free in the next lap. A hint
//! is a place (lap and slot). A slow process may store an old one.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
};

use proc_core::shm::Shared;
use serde::{Deserialize, Serialize};

pub(crate) const CAPACITY: u64 = 4;

const FREE: u64 = 0;
const WRITING: u64 = 1;
const READY: u64 = 2;
const READING: u64 = 3;

const HEAD: usize = 0;
const TAIL: usize = 1;
const WORDS: usize = 2;
const VALUES: usize = WORDS + CAPACITY as usize;

/// Handed over as a value; clones are the same ring.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ring {
    words: Shared<[AtomicU64; VALUES + CAPACITY as usize]>,
    /// The fault: if the slot at the head is in a later lap, a getter assumes that all messages before were read.
    jumps: bool,
}

impl Ring {
    pub(crate) fn new(jumps: bool) -> io::Result<Self> {
        Ok(Self { words: Shared::new([const { AtomicU64::new(0) }; VALUES + CAPACITY as usize])?, jumps })
    }

    /// False if there is no room.
    pub(crate) fn put(&self, value: u64) -> bool {
        let mut place = self.words[TAIL].load(SeqCst);
        loop {
            let (word, lap) = (self.word(place), place / CAPACITY);
            match (self.word(place).load(SeqCst), lap) {
                (seen, lap) if seen == lap * 4 + FREE => {
                    if word.compare_exchange(seen, lap * 4 + WRITING, SeqCst, SeqCst).is_ok() {
                        self.words[TAIL].store(place + 1, SeqCst);
                        self.value(place).store(value, SeqCst);
                        word.store(lap * 4 + READY, SeqCst);
                        return true;
                    }
                }
                (seen, lap) if seen / 4 < lap => return false,
                _ => place += 1,
            }
        }
    }

    /// Takes the oldest message that is ready; passes slots that are being written.
    pub(crate) fn get(&self) -> Option<u64> {
        let mut place = self.words[HEAD].load(SeqCst);
        let mut is_at_head = true;
        loop {
            let (word, lap) = (self.word(place), place / CAPACITY);
            let seen = word.load(SeqCst);
            match seen % 4 {
                READY if seen / 4 == lap => {
                    if word.compare_exchange(seen, lap * 4 + READING, SeqCst, SeqCst).is_ok() {
                        if is_at_head {
                            self.words[HEAD].store(place + 1, SeqCst);
                        }
                        let value = self.value(place).load(SeqCst);
                        word.store((lap + 1) * 4 + FREE, SeqCst);
                        return Some(value);
                    }
                }
                _ if self.jumps && seen / 4 > lap && is_at_head => {
                    // The slot was read in the lap before the one that it is in.
                    place = (seen / 4 - 1) * CAPACITY + place % CAPACITY + 1;
                    self.words[HEAD].store(place, SeqCst);
                }
                _ if seen / 4 < lap || seen == lap * 4 + FREE => return None,
                phase => {
                    is_at_head &= phase != WRITING || seen / 4 > lap;
                    place += 1;
                }
            }
        }
    }

    /// Frees the slots that dead processes had claimed. Only for a time when no process is at work.
    pub(crate) fn repair(&self) {
        for word in &self.words[WORDS..VALUES] {
            let seen = word.load(SeqCst);
            if [WRITING, READING].contains(&(seen % 4)) {
                word.store((seen / 4 + 1) * 4 + FREE, SeqCst);
            }
        }
    }

    fn word(&self, place: u64) -> &AtomicU64 {
        &self.words[WORDS + (place % CAPACITY) as usize]
    }

    fn value(&self, place: u64) -> &AtomicU64 {
        &self.words[VALUES + (place % CAPACITY) as usize]
    }
}
