//! [`Event`]: wait until it is set.
//!
//! # Safety
//! The state is made of atomics.
#![allow(unsafe_code)]

use std::{
    io,
    time::{Duration, Instant},
};

use kernel::{futex::Deadline, shm::ShmSafe};
#[cfg(feature = "serde")]
use serde::Deserialize;

use super::handle::Handle;
use crate::{machine, sys::kernel::Kernel, time::remaining};

/// A flag that processes set, clear and wait for.
///
/// Clones and handed-over copies are the same event. It takes one descriptor and one page.
///
/// All that wait when it is set are let go, even if it is cleared again at once. They see what happened before `set`. All
/// methods can be called from signal handlers.
///
/// # Crash safety
/// Any process can be killed at any instruction: the event is set, and all waiters are on their way, or it is not.
///
/// # Examples
/// ```
/// let ready = sync::process::Event::new()?;
/// let there = ready.clone();
/// let waiter = std::thread::spawn(move || there.wait().unwrap());
/// ready.set();
/// assert!(waiter.join().unwrap());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(Deserialize), serde(transparent))]
pub struct Event(Handle<SharedEvent>);

#[cfg(feature = "serde")]
kernel::serialize_as_inner!(Event);

#[repr(C)]
#[derive(Debug)]
pub(super) struct SharedEvent(machine::EventState);

// SAFETY: `repr(C)`, atomics.
unsafe impl ShmSafe for SharedEvent {}

impl Event {
    /// Makes an event that is not set.
    ///
    /// # Errors
    /// As [`SharedMemory::new`](kernel::shm::SharedMemory::new).
    pub fn new() -> io::Result<Self> {
        Ok(Self(Handle::new(SharedEvent(machine::EventState::new()))?))
    }

    /// Sets it and lets all waiters go. Never blocks.
    pub fn set(&self) {
        self.0.0.set(&Kernel);
    }

    /// Clears it, so that the next to wait will sleep. Never blocks.
    pub fn clear(&self) {
        self.0.0.clear();
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.0.0.is_set()
    }

    /// Sleeps until it is set; returns at once if it is. Always true, as in Python.
    ///
    /// # Errors
    /// None today; the signature is that of [`wait_timeout`](Self::wait_timeout).
    pub fn wait(&self) -> io::Result<bool> {
        Ok(self.0.0.wait(&Kernel, None))
    }

    /// Sleeps until it is set, for `timeout` at most, on the monotonic clock. False if time ran out.
    ///
    /// # Errors
    /// None today; reserved for kernels that refuse to wait.
    pub fn wait_timeout(&self, timeout: Duration) -> io::Result<bool> {
        Ok(self.0.0.wait(&Kernel, Deadline::after(timeout)))
    }

    /// How often it has been set and cleared.
    pub(super) fn count(&self) -> u64 {
        self.0.0.count()
    }

    /// Whether it is set, or has been since that count.
    pub(super) fn has_been_set_since(&self, count: u64) -> bool {
        self.0.0.has_been_set_since(count)
    }

    /// Sleeps until it is set or has been set since that count; false once the deadline has passed.
    pub(super) fn wait_since(&self, count: u64, deadline: Deadline) -> bool {
        self.0.0.wait_since(count, &Kernel, Some(deadline))
    }

    /// As [`wait_timeout`](Self::wait_timeout), until `deadline`.
    ///
    /// # Errors
    /// As there.
    pub fn wait_deadline(&self, deadline: Instant) -> io::Result<bool> {
        self.wait_timeout(remaining(deadline))
    }
}
