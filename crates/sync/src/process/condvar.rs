//! [`Condvar`]: sleep until another thread says that something changed.
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
use crate::{OwnerDied, WaitTimeoutResult, machine, sys::kernel::Kernel, time::remaining};

/// Lets threads of any process sleep until another one notifies them; used with any lock of this scope.
///
/// Clones and handed-over copies are the same condition variable. It takes one descriptor and one page.
///
/// A notifier never waits for a waiter. A wait may also end for no reason, as everywhere: look at the condition again,
/// or use [`wait_while`](Self::wait_while).
///
/// # Crash safety
/// Waiters and notifiers can be killed at any instruction; the others carry on. A notification that was being made is
/// made or not; one that had reached the waiter that was killed is gone with it, as a message is gone with the process
/// that took it. If a waiter is killed as the holder of the lock, the others are told so by [`OwnerDied`]; the one that
/// repairs the data calls `notify_all`.
///
/// # Examples
/// ```
/// use sync::process::{Condvar, Lock};
///
/// let (stock, changed) = (Lock::new(0u32)?, Condvar::new()?);
/// let (s, c) = (stock.clone(), changed.clone());
/// let producer = std::thread::spawn(move || {
///     *s.lock().unwrap() += 1;
///     c.notify_one();
/// });
/// let guard = changed.wait_while(stock.lock()?, |stock| *stock == 0)?;
/// assert_eq!(*guard, 1);
/// # producer.join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "Condition")]
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(Deserialize), serde(transparent))]
pub struct Condvar(Handle<SharedCondvar>);

#[cfg(feature = "serde")]
kernel::serialize_as_inner!(Condvar);

#[repr(C)]
#[derive(Debug)]
pub(super) struct SharedCondvar(machine::CondvarState);

// SAFETY: `repr(C)`, atomics.
unsafe impl ShmSafe for SharedCondvar {}

impl Condvar {
    /// Makes a condition variable.
    ///
    /// # Errors
    /// As [`SharedMemory::new`](kernel::shm::SharedMemory::new).
    pub fn new() -> io::Result<Self> {
        Ok(Self(Handle::new(SharedCondvar(machine::CondvarState::new()))?))
    }

    /// Releases the lock, sleeps until a notification comes, and locks again: recursive locks as often as they had
    /// been locked.
    ///
    /// # Errors
    /// [`OwnerDied`] with the guard, as the lock's own `lock`.
    pub fn wait<G: WaitGuard>(&self, guard: G) -> Result<G, OwnerDied<G>> {
        self.sleep(guard, None).0
    }

    /// Waits for as long as `condition` holds. What that is given is a mutable reference to the data of a `Lock` or of a
    /// writer, and a shared one to those of an `RLock` or of a reader.
    ///
    #[doc(alias = "wait_for")]
    /// # Errors
    /// [`OwnerDied`] with the guard, as soon as that is known; the condition may hold still.
    pub fn wait_while<G: WaitGuard>(
        &self,
        mut guard: G,
        mut condition: impl FnMut(<G as Lend<'_>>::Data) -> bool,
    ) -> Result<G, OwnerDied<G>> {
        while condition(guard.data()) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// Waits for `timeout` at most, on the monotonic clock; the time to lock again comes on top.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout<G: WaitGuard>(
        &self,
        guard: G,
        timeout: Duration,
    ) -> Result<(G, WaitTimeoutResult), OwnerDied<G>> {
        let (guard, notified) = self.sleep(guard, Deadline::after(timeout));
        Ok((guard?, WaitTimeoutResult::new(!notified)))
    }

    /// Waits for as long as `condition` holds, for `timeout` at most. It has timed out if the condition holds still.
    ///
    /// # Errors
    /// As [`wait_while`](Self::wait_while).
    pub fn wait_timeout_while<G: WaitGuard>(
        &self,
        mut guard: G,
        timeout: Duration,
        mut condition: impl FnMut(<G as Lend<'_>>::Data) -> bool,
    ) -> Result<(G, WaitTimeoutResult), OwnerDied<G>> {
        let deadline = Deadline::after(timeout);
        loop {
            if !condition(guard.data()) {
                return Ok((guard, WaitTimeoutResult::new(false)));
            }
            if deadline.is_some_and(|deadline| deadline.has_passed()) {
                return Ok((guard, WaitTimeoutResult::new(true)));
            }
            guard = self.sleep(guard, deadline).0?;
        }
    }

    /// As [`wait_timeout`](Self::wait_timeout), until `deadline`.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_deadline<G: WaitGuard>(
        &self,
        guard: G,
        deadline: Instant,
    ) -> Result<(G, WaitTimeoutResult), OwnerDied<G>> {
        self.wait_timeout(guard, remaining(deadline))
    }

    /// As [`wait_timeout_while`](Self::wait_timeout_while), until `deadline`.
    ///
    /// # Errors
    /// As [`wait_while`](Self::wait_while).
    pub fn wait_deadline_while<G: WaitGuard>(
        &self,
        guard: G,
        deadline: Instant,
        condition: impl FnMut(<G as Lend<'_>>::Data) -> bool,
    ) -> Result<(G, WaitTimeoutResult), OwnerDied<G>> {
        self.wait_timeout_while(guard, remaining(deadline), condition)
    }

    /// Wakes one waiter, if there is one. Never blocks.
    ///
    /// Whether one was asleep and has been woken. (One that is about to fall asleep will not, and does not count.)
    #[doc(alias = "notify")]
    pub fn notify_one(&self) -> bool {
        self.notify_n(1) > 0
    }

    /// Wakes `n` waiters, or all if there are fewer. Never blocks. Returns how many were asleep and have been woken.
    pub fn notify_n(&self, n: u32) -> usize {
        self.0.0.notify(n, &Kernel) as usize
    }

    /// Wakes all waiters. Never blocks. Returns how many were asleep and have been woken.
    pub fn notify_all(&self) -> usize {
        self.notify_n(u32::MAX)
    }

    fn sleep<G: WaitGuard>(&self, guard: G, deadline: Option<Deadline>) -> (Result<G, OwnerDied<G>>, bool) {
        let ticket = self.0.0.register();
        let unlocked = guard.unlock();
        let notified = self.0.0.wait(ticket, &Kernel, deadline);
        (G::relock(unlocked), notified)
    }
}

/// A guard with which one can wait for a [`Condvar`]: those of all locks of this scope.
pub trait WaitGuard: sealed::Sealed + Sized + for<'d> Lend<'d> {
    #[doc(hidden)]
    type Unlocked;
    #[doc(hidden)]
    fn data<'d>(&'d mut self) -> <Self as Lend<'d>>::Data;
    #[doc(hidden)]
    fn unlock(self) -> Self::Unlocked;
    #[doc(hidden)]
    fn relock(unlocked: Self::Unlocked) -> Result<Self, OwnerDied<Self>>;
}

/// What a guard lends of its lock's data: `&mut T` if it is the only one, else `&T`.
///
/// (`Bound` says to the compiler that `'d` is no longer than the guard exists.)
pub trait Lend<'d, Bound = &'d Self>: sealed::Sealed {
    /// The reference.
    type Data;
}

pub(crate) mod sealed {
    pub trait Sealed {}
}
