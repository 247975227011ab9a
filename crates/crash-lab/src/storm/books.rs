//! Who was promised what in a round of a storm: a word for each value, beside what it went through.
//!
//! # Safety
//! All accesses are to whole words inside the memory, as atomics.
#![allow(unsafe_code)]

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
};

use proc_core::shm::SharedMemory;
use serde::{Deserialize, Serialize};

/// Values in one round.
pub(super) const N_VALUES: u64 = 1 << 20;

/// Bits of a value's word: its way was begun (a put, a task, a message, a child), has been acknowledged, has given the value
/// back; it goes by the joinable queue, or by something where it comes at most once and is never lost; its end was begun, and
/// has returned. Above: how often it was taken out.
pub(super) const BEGUN: u64 = 1;
pub(super) const ACKNOWLEDGED: u64 = 2;
pub(super) const GIVEN_BACK: u64 = 4;
pub(super) const JOINABLE: u64 = 8;
pub(super) const ERRAND: u64 = 16;
pub(super) const FINISHING: u64 = 32;
pub(super) const FINISHED: u64 = 64;
pub(super) const TAKEN: u64 = 1 << 8;

const N_WORDS: u64 = 16;

/// Words beside those of the values.
#[derive(Clone, Copy, Debug)]
pub(super) enum Word {
    /// The next value.
    Next,
    /// Takers that began, and came back.
    Takers,
    Returned,
    /// Changes under the lock that were begun, and done.
    Locking,
    Locked,
    /// The same under the lock for readers and writers.
    Writing,
    Written,
    /// Releases of a semaphore that were begun, and done; acquisitions that were begun, that came back, and that succeeded.
    Releasing,
    Released,
    Acquiring,
    Refused,
    Acquired,
    /// What went wrong in a process that nobody waits for.
    Wrong,
    /// Whether the round is over.
    Over,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Books(SharedMemory);

impl Books {
    pub(super) fn new() -> io::Result<Self> {
        SharedMemory::new((N_VALUES + N_WORDS) as usize * size_of::<AtomicU64>()).map(Self)
    }

    fn at(&self, place: u64) -> &AtomicU64 {
        assert!(place < N_VALUES + N_WORDS);
        // SAFETY: inside the memory, as just checked.
        let word = unsafe { self.0.as_ptr().cast::<AtomicU64>().add(place as usize) };
        // SAFETY: aligned, mapped as long as `self`, and only used as an atomic.
        unsafe { word.as_ref() }
    }

    pub(super) fn word(&self, word: Word) -> &AtomicU64 {
        self.at(N_VALUES + word as u64)
    }

    pub(super) fn get(&self, word: Word) -> u64 {
        self.word(word).load(SeqCst)
    }

    pub(super) fn count(&self, word: Word) {
        self.word(word).fetch_add(1, SeqCst);
    }

    pub(super) fn is_over(&self) -> bool {
        self.get(Word::Over) != 0
    }

    /// A value that nobody else has; None if there is none any more.
    pub(super) fn new_value(&self, bits: u64) -> Option<u64> {
        let value = self.word(Word::Next).fetch_add(1, SeqCst);
        (value < N_VALUES).then(|| {
            self.note(value, bits);
            value
        })
    }

    pub(super) fn note(&self, value: u64, bits: u64) {
        self.at(value).fetch_or(bits, SeqCst);
    }

    /// It came out; false if there is no such value.
    pub(super) fn take(&self, value: u64) -> bool {
        let is_one = value < N_VALUES;
        if is_one {
            self.at(value).fetch_add(TAKEN, SeqCst);
        }
        is_one
    }

    pub(super) fn of(&self, value: u64) -> u64 {
        self.at(value).load(SeqCst)
    }

    /// How many values were given out.
    pub(super) fn n_values(&self) -> u64 {
        self.get(Word::Next).min(N_VALUES)
    }
}
