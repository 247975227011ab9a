//! How a child wakes its owner: a futex word that all rings of an owner share.
//!
//! # Safety
//! The word is at the beginning of a block, which is at least a page long; any bits are one.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use kernel::shm::SharedMemory;

use super::bell::Bell;

/// Clones are the same doorbell.
#[derive(Clone, Debug)]
pub struct Doorbell(SharedMemory);

impl Doorbell {
    /// Of an owner that is awake.
    ///
    /// # Errors
    /// As [`SharedMemory::new`].
    pub fn new() -> io::Result<Self> {
        let doorbell = Self(SharedMemory::new(size_of::<Bell>())?);
        doorbell.bell().reset();
        Ok(doorbell)
    }

    /// The one in a memory file that came from elsewhere.
    ///
    /// # Errors
    /// If it cannot be mapped.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        SharedMemory::from_fd(fd).map(Self)
    }

    fn bell(&self) -> &Bell {
        // SAFETY: a block is at least a page, aligned to it, and mapped as long as `self` lives; any bits are such a word.
        unsafe { self.0.as_ptr().cast().as_ref() }
    }

    /// Wakes the owner if it sleeps. What was published before is seen by it.
    #[inline]
    pub fn ring(&self) {
        self.bell().ring();
    }

    /// Sleeps until a child rings, unless `has_work` then. One thread of the owner's.
    pub fn sleep(&self, has_work: impl FnOnce() -> bool) {
        self.bell().sleep(has_work);
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
