//! [`Locks`]: many locks in little memory.
//!
//! # Safety
//! A lock stays where it is while it is held: guards borrow the handles that keep it mapped, and a forgotten guard has
//! its block pinned.
#![allow(unsafe_code)]

use std::{
    array, io,
    time::{Duration, Instant},
};

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::{
    handle::Handle,
    lock::{InlineLock, LockGuard},
};
use crate::{OwnerDied, time::remaining};

/// As many as lie in one page of 4 KiB.
const BLOCK: usize = 63;

/// Many locks without data that processes share, by number.
///
/// Each is a lock as [`Lock`](super::Lock), of which it has the properties. Clones and handed-over copies are the same
/// locks. They take one descriptor and one page for each 63.
///
/// # Examples
/// ```
/// let rows = sync::process::Locks::new(100)?;
/// let (one, other) = (rows.lock(0)?, rows.lock(99)?);
/// assert!(rows.try_lock(50)?.is_some());
/// # drop((one, other));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Locks {
    blocks: Vec<Handle<[InlineLock<()>; BLOCK]>>,
}

type Guard<'a> = LockGuard<'a, ()>;

impl Locks {
    /// Makes `n` free locks, or a few more.
    ///
    /// # Errors
    /// As [`SharedMemory::new`](kernel::shm::SharedMemory::new).
    pub fn new(n: usize) -> io::Result<Self> {
        let block = || Handle::new(array::from_fn(|_| InlineLock::new(())));
        let blocks = (0..n.div_ceil(BLOCK)).map(|_| block()).collect::<io::Result<_>>()?;
        Ok(Self { blocks })
    }

    /// How many there are: as many as were asked for, or a few more.
    #[expect(clippy::len_without_is_empty, reason = "it is no collection")]
    pub fn len(&self) -> usize {
        self.blocks.len() * BLOCK
    }

    /// As [`Lock::lock`](super::Lock::lock).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there; and if there is no such lock.
    pub fn lock(&self, i: usize) -> Result<Guard<'_>, OwnerDied<Guard<'_>>> {
        // SAFETY: the handle keeps it where it is (see the module).
        unsafe { self.at(i).lock() }
    }

    /// As [`Lock::try_lock`](super::Lock::try_lock).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// If there is no such lock.
    pub fn try_lock(&self, i: usize) -> Result<Option<Guard<'_>>, OwnerDied<Guard<'_>>> {
        // SAFETY: the handle keeps it where it is (see the module).
        unsafe { self.at(i).try_lock() }
    }

    /// As [`Lock::lock_timeout`](super::Lock::lock_timeout).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// If there is no such lock.
    pub fn lock_timeout(&self, i: usize, timeout: Duration) -> Result<Option<Guard<'_>>, OwnerDied<Guard<'_>>> {
        // SAFETY: the handle keeps it where it is (see the module).
        unsafe { self.at(i).lock_timeout(timeout) }
    }

    /// As [`Lock::lock_deadline`](super::Lock::lock_deadline).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// If there is no such lock.
    pub fn lock_deadline(&self, i: usize, deadline: Instant) -> Result<Option<Guard<'_>>, OwnerDied<Guard<'_>>> {
        self.lock_timeout(i, remaining(deadline))
    }

    fn at(&self, i: usize) -> &InlineLock<()> {
        &self.blocks[i / BLOCK][i % BLOCK]
    }
}
