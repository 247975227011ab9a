//! [`Semaphore`] and [`BoundedSemaphore`]: at most so many at a time.

use std::{
    mem,
    panic::{RefUnwindSafe, UnwindSafe},
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use crate::TooManyReleases;

/// A number of permits that threads share.
///
/// # Examples
/// ```
/// let connections = sync::thread::Semaphore::new(2);
/// let permit = connections.acquire();
/// assert_eq!(connections.permits(), 1);
/// drop(permit);
///
/// connections.acquire().forget(); // as in Python: what was acquired here …
/// connections.release(1)?; // … may be released elsewhere
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Semaphore {
    permits: Mutex<u32>,
    released: Condvar,
    limit: u32,
}

/// A [`Semaphore`] that refuses to be released more often than it was acquired.
///
/// # Examples
/// ```
/// let connections = sync::thread::BoundedSemaphore::new(1);
/// assert!(connections.release(1).is_err());
/// ```
#[derive(Debug)]
pub struct BoundedSemaphore(Semaphore);

impl Semaphore {
    /// Makes a semaphore of so many permits.
    pub const fn new(permits: u32) -> Self {
        Self::limited(permits, u32::MAX)
    }

    const fn limited(permits: u32, limit: u32) -> Self {
        Self { permits: parking_lot::const_mutex(permits), released: Condvar::new(), limit }
    }

    /// Takes a permit; sleeps until there is one.
    pub fn acquire(&self) -> Permit<'_> {
        self.take(None).expect("there is no deadline to pass")
    }

    /// Takes a permit if there is one now.
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        self.take(Some(Instant::now()))
    }

    /// Takes a permit if there is one within `timeout`.
    pub fn acquire_timeout(&self, timeout: Duration) -> Option<Permit<'_>> {
        self.take(Instant::now().checked_add(timeout))
    }

    /// As [`acquire_timeout`](Self::acquire_timeout), until `deadline`.
    pub fn acquire_deadline(&self, deadline: Instant) -> Option<Permit<'_>> {
        self.take(Some(deadline))
    }

    /// Adds `n` permits, whether or not the caller acquired them.
    ///
    /// # Errors
    /// [`TooManyReleases`] if there were more than `u32::MAX` then.
    pub fn release(&self, n: u32) -> Result<(), TooManyReleases> {
        let mut permits = self.permits.lock();
        *permits = permits.checked_add(n).filter(|total| *total <= self.limit).ok_or(TooManyReleases)?;
        drop(permits);
        for _ in 0..n {
            if !self.released.notify_one() {
                break;
            }
        }
        Ok(())
    }

    /// How many permits there are now.
    #[doc(alias = "get_value")]
    pub fn permits(&self) -> u32 {
        *self.permits.lock()
    }

    fn take(&self, deadline: Option<Instant>) -> Option<Permit<'_>> {
        let mut permits = self.permits.lock();
        let is_empty = |permits: &mut u32| *permits == 0;
        match deadline {
            None => self.released.wait_while(&mut permits, is_empty),
            Some(deadline) if *permits == 0 => {
                if self.released.wait_while_until(&mut permits, is_empty, deadline).timed_out() {
                    return None;
                }
            }
            Some(_) => {}
        }
        *permits -= 1;
        Some(Permit(self))
    }
}

impl BoundedSemaphore {
    /// Makes a semaphore of so many permits, and never more.
    pub const fn new(permits: u32) -> Self {
        Self(Semaphore::limited(permits, permits))
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

/// A permit of a [`Semaphore`], given back when it is dropped.
#[must_use = "the permit is given back when it is dropped"]
#[derive(Debug)]
pub struct Permit<'a>(&'a Semaphore);

impl Permit<'_> {
    /// Keeps the permit acquired until any thread calls `release`.
    pub fn forget(self) {
        mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        // It can only fail if another caller has released what this permit stands for.
        let _ = self.0.release(1);
    }
}

// What a panic interrupts is the user's; this is whole.
impl UnwindSafe for Semaphore {}
impl RefUnwindSafe for Semaphore {}
impl UnwindSafe for BoundedSemaphore {}
impl RefUnwindSafe for BoundedSemaphore {}
