//! How a child wakes its owner: a futex word that all rings of an owner share.
//!
//! # Safety
//! The word is at the beginning of a block, which is at least a page long; any bits are one.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicU32, Ordering::*, fence},
};

use kernel::{
    futex::{self, Change},
    shm::SharedMemory,
};

/// The owner sleeps, or is about to. So does each other value say, but [`AWAKE`].
const ASLEEP: u32 = u32::from_le_bytes(*b"bell");
/// The owner will look at all rings before it sleeps.
const AWAKE: u32 = ASLEEP + 1;

/// Clones are the same doorbell.
#[derive(Clone, Debug)]
pub struct Doorbell(SharedMemory);

impl Doorbell {
    /// Of an owner that is awake.
    ///
    /// # Errors
    /// As [`SharedMemory::new`].
    pub fn new() -> io::Result<Self> {
        let doorbell = Self(SharedMemory::new(size_of::<AtomicU32>())?);
        // Orders nothing: who reads it got the descriptor after this.
        doorbell.word().store(AWAKE, Relaxed);
        Ok(doorbell)
    }

    /// The one in a memory file that came from elsewhere.
    ///
    /// # Errors
    /// If it cannot be mapped.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        SharedMemory::from_fd(fd).map(Self)
    }

    fn word(&self) -> &AtomicU32 {
        // SAFETY: a block is at least a page, aligned to it, and mapped as long as `self` lives; any bits are such a word.
        unsafe { self.0.as_ptr().cast().as_ref() }
    }

    /// Wakes the owner if it sleeps. What was published before is seen by it.
    #[inline]
    pub fn ring(&self) {
        // With that in `sleep`: either the owner sees what was published, or this sees that it sleeps.
        fence(SeqCst);
        if self.word().load(Relaxed) != AWAKE {
            // In one step: who is killed between the two would leave a sleeper that everybody takes for awake. Of two who
            // come at once, the second leaves a value that is neither; then others ring once too often.
            futex::change_and_wake(self.word(), Change::Increment, u32::MAX);
        }
    }

    /// Sleeps until somebody rings, unless `has_work` then. One thread of the owner's.
    pub fn sleep(&self, has_work: impl FnOnce() -> bool) {
        self.word().store(ASLEEP, Relaxed);
        // With that in `ring`.
        fence(SeqCst);
        if !has_work() {
            futex::wait(self.word(), ASLEEP, None);
        }
        // A child that sees this does not ring. What it published is seen at the latest before the next sleep.
        self.word().store(AWAKE, Relaxed);
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
