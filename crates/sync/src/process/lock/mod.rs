//! [`Lock`]: one process at a time.
//!
//! # Safety
//! The data are reached only through a guard, whose owner holds the raw lock; they are `Plain`, so whatever a killed
//! holder left there is a value.
//!
//! A lock stays where it is while it is held. The caller that acquires an [`InlineLock`] promises that. A guard of a
//! [`Lock`] borrows the handle that keeps it mapped, and if it is forgotten, the memory stays mapped for good, since
//! [`ShmSafe::is_pinned`] says so.
#![allow(unsafe_code)]

mod inline;
mod mapped;

use std::{
    fmt, io,
    time::{Duration, Instant},
};

use kernel::futex::Deadline;
#[cfg(doc)]
use kernel::shm::ShmSafe;
#[cfg(feature = "serde")]
use serde::Deserialize;

use super::{handle::Handle, holder::Holder};
use crate::{OwnerDied, Plain, time::remaining};

pub use self::{
    inline::{InlineLock, LockGuard, Locked},
    mapped::MappedLockGuard,
};

/// A lock that processes share, with the data that it protects.
///
/// Clones and handed-over copies are the same lock. It takes one descriptor and one page.
///
/// # Crash safety
/// If the holder is killed, or its thread ends, at whatever instruction, the next one to lock gets
/// [`OwnerDied`] with the guard, at once; a waiter is woken for that. The same if the holder panics. The data are as
/// the holder left them. Until a holder puts them in order and calls [`mark_consistent`](LockGuard::mark_consistent),
/// each later holder is told. A process that dies while it waits for the lock does not disturb the others.
///
/// A process that overwrites the lock's memory can make it look held. After waiting one second, a waiter checks whether
/// the thread that the lock names has that memory at all, and takes it for a dead holder if not. A thread that has the
/// memory is waited for, as it might as well hold the lock; so is one that cannot be asked about, as in a chroot or under
/// hidepid.
///
/// # Pid namespaces
/// The kernel tells holders by their thread ids, which two threads of different pid namespaces may share. A lock can be
/// used in several namespaces: no thread takes itself for the holder because of its id, and holders that are out of sight
/// are waited for. But each operation is slower in a process that was forked into another namespace than its parent's;
/// overwritten memory is not detected; [`holder`](Self::holder) is unknown; and one case is left. If a waiter is
/// killed while a thread with its own id holds the lock, which it acquired after the waiter began to wait and less than a
/// second ago, then the kernel takes the waiter for the holder, and the next one to lock is let in and told `OwnerDied`.
///
/// # Forks
/// A child that is forked while its parent holds the lock holds nothing, whatever the start method: the parent is the
/// holder, and the child waits for it like any other process. A fork also leaves the child a copy of the guard, which
/// changes nothing: dropping it releases nothing, also when the child has acquired the lock itself meanwhile, and
/// [`mark_consistent`](LockGuard::mark_consistent) does nothing. But it still leads to the data, which the parent may
/// be changing: a child leaves it alone and locks through its handle. All locks of this scope behave so.
///
/// # Examples
/// ```
/// use sync::process::Lock;
///
/// let counter = Lock::new(0u64)?;
/// *counter.lock()? += 1;
/// assert_eq!(*counter.lock()?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A holder that did not live to finish:
/// ```
/// # use sync::process::Lock;
/// let pair = Lock::new((0u32, 0u32))?;
/// let other = pair.clone();
/// let _ = std::thread::spawn(move || {
///     let mut both = other.lock().unwrap();
///     both.0 = 1;
///     panic!("before both.1 was set");
/// })
/// .join();
/// let Err(e) = pair.lock() else { panic!("one is told") };
/// let mut both = e.into_inner();
/// both.1 = both.0;
/// both.mark_consistent();
/// drop(both);
/// assert_eq!(*pair.lock()?, (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "Mutex")]
#[cfg_attr(feature = "serde", derive(Deserialize), serde(bound = "", transparent))]
pub struct Lock<T: Plain>(Handle<InlineLock<T>>);

#[cfg(feature = "serde")]
kernel::serialize_as_inner!(Lock<T> where T: [Plain]);

impl<T: Plain> Lock<T> {
    /// Makes a free lock around `value`.
    ///
    /// # Errors
    /// As [`SharedMemory::new`](kernel::shm::SharedMemory::new).
    pub fn new(value: T) -> io::Result<Self> {
        Ok(Self(Handle::new(InlineLock::new(value))?))
    }

    /// Locks; sleeps for as long as another thread, of this process or another, holds the lock.
    ///
    /// # Errors
    /// [`OwnerDied`], which holds the guard, if the data may be half changed.
    ///
    /// # Panics
    /// If the calling thread holds the lock already, or 2000 others.
    #[doc(alias = "acquire")]
    #[inline]
    pub fn lock(&self) -> Result<LockGuard<'_, T>, OwnerDied<LockGuard<'_, T>>> {
        // SAFETY: the handle keeps it where it is (see the module).
        unsafe { self.0.lock() }
    }

    /// Locks if that is possible at once; `None` otherwise, also when the calling thread is the holder.
    ///
    /// # Errors
    /// [`OwnerDied`], as [`lock`](Self::lock).
    #[inline]
    pub fn try_lock(&self) -> Result<Option<LockGuard<'_, T>>, OwnerDied<LockGuard<'_, T>>> {
        // SAFETY: the handle keeps it where it is (see the module).
        unsafe { self.0.try_lock() }
    }

    /// Locks if that is possible within `timeout`, on the monotonic clock; `None` otherwise.
    ///
    /// # Errors
    /// [`OwnerDied`], as [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<LockGuard<'_, T>>, OwnerDied<LockGuard<'_, T>>> {
        // SAFETY: the handle keeps it where it is (see the module).
        unsafe { self.0.lock_timeout(timeout) }
    }

    /// As [`lock_timeout`](Self::lock_timeout), until `deadline`.
    ///
    /// # Errors
    /// [`OwnerDied`], as [`lock`](Self::lock).
    pub fn lock_deadline(&self, deadline: Instant) -> Result<Option<LockGuard<'_, T>>, OwnerDied<LockGuard<'_, T>>> {
        self.lock_timeout(remaining(deadline))
    }

    /// Locks for good and returns a copy of the data; other handles can go on using the lock.
    ///
    /// # Errors
    /// [`OwnerDied`] with the data, if they may be half changed.
    ///
    /// # Panics
    /// As [`lock`](Self::lock).
    pub fn into_inner(self) -> Result<T, OwnerDied<T>> {
        // SAFETY: the guard gives exclusive access, and `Plain` data may be copied bit by bit.
        let copy = |guard: LockGuard<'_, T>| unsafe { guard.place().read() };
        match self.lock() {
            Ok(guard) => Ok(copy(guard)),
            Err(died) => Err(died.map(copy)),
        }
    }

    /// Sleeps until the lock has no holder, without acquiring it; false once the deadline has passed.
    pub(super) fn wait_while_held(&self, deadline: Deadline) -> bool {
        self.0.raw.wait_while_held(Some(deadline))
    }

    /// Whether the lock is held; may have changed by the time it returns.
    pub fn is_locked(&self) -> bool {
        self.0.raw.lock().owner() != 0
    }

    /// The holder of the lock, for a message to a person; may have changed by the time it returns.
    pub fn holder(&self) -> Option<Holder> {
        self.0.raw.holder()
    }
}

impl<T: Plain> Clone for Lock<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Plain> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("holder", &self.0.raw.lock().owner()).finish_non_exhaustive()
    }
}
