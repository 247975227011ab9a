//! The least that sleeping and waking cost.

use std::{
    io,
    sync::atomic::{
        AtomicU32,
        Ordering::{Acquire, Release},
    },
};

use kernel::futex;
use proc_core::shm::Shared;
use serde::{Deserialize, Serialize};

use crate::crew::Lane;

/// A number behind a futex: one message at a time.
#[derive(Debug, Serialize, Deserialize)]
pub struct FutexWord(Shared<AtomicU32>);

impl FutexWord {
    /// Makes one that is empty.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn new() -> io::Result<Self> {
        Shared::new(AtomicU32::new(0)).map(Self)
    }
}

impl Lane for FutexWord {
    fn put(&self, n: u64) {
        self.0.store(n as u32 + 1, Release);
        futex::wake(&self.0, 1);
    }
    fn get(&self) -> u64 {
        loop {
            match self.0.load(Acquire) {
                0 => drop(futex::wait(&self.0, 0, None)),
                n => {
                    self.0.store(0, Release);
                    return u64::from(n) - 1;
                }
            }
        }
    }
    fn copy(&self) -> Self {
        Self(self.0.clone())
    }
}
