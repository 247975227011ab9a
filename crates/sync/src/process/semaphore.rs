//! [`Semaphore`] and [`BoundedSemaphore`]: at most so many at a time.
//!
//! # Safety
//! The state is made of atomics.
#![allow(unsafe_code)]

use std::{
    io, mem,
    time::{Duration, Instant},
};

use kernel::{at_fork, futex::Deadline, shm::ShmSafe};
#[cfg(feature = "serde")]
use serde::Deserialize;

use super::handle::Handle;
use crate::{
    TooManyReleases, machine,
    sys::{kernel::Kernel, robust},
    time::remaining,
};

/// A number of permits that processes share.
///
/// Clones and handed-over copies are the same semaphore. It takes one descriptor and one page.
///
/// # Crash safety
/// Waiters and releasers can be killed at any instruction: permits are conserved, and the others carry on; a
/// wake-up that had reached a killed waiter is passed on by the kernel. What a killed process had *acquired* stays
/// acquired, as in Python: a permit may be released by another process than the one that acquired it, so no process can
/// know that it is lost. Where a holder's death must release what it held, use [`Lock`](super::Lock).
///
/// # Examples
/// ```
/// let connections = sync::process::Semaphore::new(2)?;
/// let permit = connections.acquire();
/// assert_eq!(connections.permits(), 1);
/// drop(permit);
///
/// connections.acquire().forget(); // as in Python: what was acquired here …
/// connections.release(1)?; // … may be released elsewhere
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(Deserialize), serde(transparent))]
pub struct Semaphore(Handle<SharedSemaphore>);

#[cfg(feature = "serde")]
kernel::serialize_as_inner!(Semaphore);

/// A [`Semaphore`] that refuses to be released more often than it was acquired.
///
/// # Examples
/// ```
/// let connections = sync::process::BoundedSemaphore::new(1)?;
/// assert!(connections.release(1).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(Deserialize), serde(transparent))]
pub struct BoundedSemaphore(pub(super) Semaphore);

#[cfg(feature = "serde")]
kernel::serialize_as_inner!(BoundedSemaphore);

#[repr(C)]
#[derive(Debug)]
pub(super) struct SharedSemaphore {
    pub(super) state: machine::SemaphoreState,
    pub(super) limit: std::sync::atomic::AtomicU32,
    unused: std::sync::atomic::AtomicU32,
}

// SAFETY: `repr(C)`, atomics.
unsafe impl ShmSafe for SharedSemaphore {}

impl Semaphore {
    /// Makes a semaphore of so many permits.
    ///
    /// # Errors
    /// As [`SharedMemory::new`](kernel::shm::SharedMemory::new).
    pub fn new(permits: u32) -> io::Result<Self> {
        Self::limited(permits, u32::MAX)
    }

    fn limited(permits: u32, limit: u32) -> io::Result<Self> {
        let state = machine::SemaphoreState::new(permits);
        Ok(Self(Handle::new(SharedSemaphore { state, limit: limit.into(), unused: 0.into() })?))
    }

    /// Takes a permit; sleeps until there is one.
    pub fn acquire(&self) -> Permit<'_> {
        self.try_acquire().unwrap_or_else(|| self.take(None).expect("there is no deadline to pass"))
    }

    /// Takes a permit if there is one now.
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        self.0.state.try_acquire().then(|| self.permit())
    }

    /// Takes a permit if there is one within `timeout`, on the monotonic clock.
    pub fn acquire_timeout(&self, timeout: Duration) -> Option<Permit<'_>> {
        self.try_acquire().or_else(|| self.take(Deadline::after(timeout)))
    }

    /// As [`acquire_timeout`](Self::acquire_timeout), until `deadline`.
    pub fn acquire_deadline(&self, deadline: Instant) -> Option<Permit<'_>> {
        self.acquire_timeout(remaining(deadline))
    }

    /// Adds `n` permits, whether or not the caller acquired them. Never blocks.
    ///
    /// # Errors
    /// [`TooManyReleases`] if there were more than `u32::MAX` then.
    pub fn release(&self, n: u32) -> Result<(), TooManyReleases> {
        if n == 0 {
            return Ok(());
        }
        let state = &self.0.state;
        let _announced = robust::announce(state.state());
        // Relaxed: written before the memory is shared.
        let limit = self.0.limit.load(std::sync::atomic::Ordering::Relaxed);
        state.release(n, limit, &Kernel).map_err(|machine::Overflow| TooManyReleases)
    }

    /// How many permits there are now.
    #[doc(alias = "get_value")]
    pub fn permits(&self) -> u32 {
        self.0.state.permits()
    }

    pub(super) fn permit(&self) -> Permit<'_> {
        Permit { semaphore: self, generation: at_fork::generation() }
    }

    #[cold]
    fn take(&self, deadline: Option<Deadline>) -> Option<Permit<'_>> {
        let state = &self.0.state;
        let _announced = robust::announce(state.state());
        state.acquire(&Kernel, deadline).then(|| self.permit())
    }
}

impl BoundedSemaphore {
    /// Makes a semaphore of so many permits, and never more.
    ///
    /// # Errors
    /// As [`SharedMemory::new`](kernel::shm::SharedMemory::new).
    pub fn new(permits: u32) -> io::Result<Self> {
        Semaphore::limited(permits, permits).map(Self)
    }

    /// As [`Semaphore::acquire`].
    pub fn acquire(&self) -> Permit<'_> {
        self.0.acquire()
    }

    /// As [`Semaphore::try_acquire`].
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        self.0.try_acquire()
    }

    /// As [`Semaphore::acquire_timeout`].
    pub fn acquire_timeout(&self, timeout: Duration) -> Option<Permit<'_>> {
        self.0.acquire_timeout(timeout)
    }

    /// As [`Semaphore::acquire_deadline`].
    pub fn acquire_deadline(&self, deadline: Instant) -> Option<Permit<'_>> {
        self.0.acquire_deadline(deadline)
    }

    /// Adds `n` permits.
    ///
    /// # Errors
    /// [`TooManyReleases`] if there were more than at first then.
    pub fn release(&self, n: u32) -> Result<(), TooManyReleases> {
        self.0.release(n)
    }

    /// As [`Semaphore::permits`].
    #[doc(alias = "get_value")]
    pub fn permits(&self) -> u32 {
        self.0.permits()
    }
}

/// A permit of a [`Semaphore`], given back when it is dropped; the copy that a fork leaves in a child is not.
#[must_use = "the permit is given back when it is dropped"]
#[derive(Debug)]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    generation: u32,
}

impl Permit<'_> {
    /// Keeps the permit acquired until any process calls `release`.
    pub fn forget(self) {
        mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.generation == at_fork::generation() {
            // It can only fail if another caller has released what this permit stands for.
            let _ = self.semaphore.release(1);
        }
    }
}
