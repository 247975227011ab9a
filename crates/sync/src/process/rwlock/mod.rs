//! [`RwLock`]: many readers, or one writer. `shared.rs` says who may be in.
//!
//! # Safety
//! Only a thread that holds the gate, and has found all seats empty since, writes the data. Only a thread that has found
//! the gate open since it took a seat reads them. They are `Plain`. The locks stay where they are while they are held, as
//! a `Lock` does.
#![allow(unsafe_code)]

mod mapped;
mod shared;

use std::{
    fmt, io,
    ops::{Deref, DerefMut},
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use kernel::futex::Deadline;
#[cfg(feature = "serde")]
use serde::Deserialize;

use super::{
    condvar::{Lend, WaitGuard, sealed},
    handle::Handle,
    holder::Holder,
    raw::RawLock,
    tenure::Tenure,
};
use crate::{OwnerDied, Plain, machine::Acquired, sys::robust::ThreadList, time::remaining};

pub use self::mapped::{MappedRwLockReadGuard, MappedRwLockWriteGuard};
pub(super) use self::shared::SharedRwLock;
use self::shared::first_seat;

/// A lock that lets in many readers or one writer.
///
/// Clones and handed-over copies are the same lock. It takes one descriptor and one page. At most 32 readers are in at
/// a time. A writer that waits keeps new readers out, so that it is not kept waiting for ever; a thread that reads
/// already and reads again may therefore wait for itself.
///
/// # Crash safety
/// A reader that is killed leaves no trace, and a writer that waited for it goes on at once. If a writer is killed or
/// panics after it was let in, readers and writers get [`OwnerDied`], with the guard, until a writer calls
/// [`mark_consistent`](RwLockWriteGuard::mark_consistent); if it was killed while it waited, the others do not notice.
///
/// # Examples
/// ```
/// let route = sync::process::RwLock::new([0u32; 3])?;
/// route.write()?[1] = 7;
/// let (one, other) = (route.read()?, route.read()?);
/// assert_eq!(one[1], other[1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg_attr(feature = "serde", derive(Deserialize), serde(bound = "", transparent))]
pub struct RwLock<T: Plain>(Handle<SharedRwLock<T>>);

#[cfg(feature = "serde")]
kernel::serialize_as_inner!(RwLock<T> where T: [Plain]);

type Read<'a, T> = RwLockReadGuard<'a, T>;
type Write<'a, T> = RwLockWriteGuard<'a, T>;

impl<T: Plain + Sync> RwLock<T> {
    /// Makes a free lock around `value`.
    ///
    /// # Errors
    /// As [`SharedMemory::new`](kernel::shm::SharedMemory::new).
    pub fn new(value: T) -> io::Result<Self> {
        Ok(Self(Handle::new(SharedRwLock::new(value))?))
    }

    /// Lets a reader in; sleeps for as long as a writer is in or waits, or all 32 seats are taken.
    ///
    /// # Errors
    /// [`OwnerDied`], which holds the guard, if the data may be half changed.
    ///
    /// # Panics
    /// If the calling thread is the writer, or holds 2000 locks.
    #[inline]
    pub fn read(&self) -> Result<Read<'_, T>, OwnerDied<Read<'_, T>>> {
        self.reader_at(self.0.take_seat(None).expect("there is no deadline to pass"))
    }

    /// Lets a reader in if that is possible at once.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn try_read(&self) -> Result<Option<Read<'_, T>>, OwnerDied<Read<'_, T>>> {
        self.0.try_take_seat().map(|seat| self.reader_at(seat)).transpose()
    }

    /// Lets a reader in if that is possible within `timeout`, on the monotonic clock.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_timeout(&self, timeout: Duration) -> Result<Option<Read<'_, T>>, OwnerDied<Read<'_, T>>> {
        self.0.take_seat(Deadline::after(timeout)).map(|seat| self.reader_at(seat)).transpose()
    }

    /// As [`read_timeout`](Self::read_timeout), until `deadline`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_deadline(&self, deadline: Instant) -> Result<Option<Read<'_, T>>, OwnerDied<Read<'_, T>>> {
        self.read_timeout(remaining(deadline))
    }

    /// As [`read`](Self::read), but a thread that reads already is let in at once, whether or not a writer waits.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// # Panics
    /// As [`read`](Self::read); and if this thread has all 32 seats.
    pub fn read_recursive(&self) -> Result<Read<'_, T>, OwnerDied<Read<'_, T>>> {
        match self.0.take_another_seat() {
            Some(seat) => self.reader_at(seat),
            None => self.read(),
        }
    }

    /// Lets a writer in; sleeps for as long as readers or another writer are in.
    ///
    /// # Errors
    /// [`OwnerDied`], which holds the guard, if the data may be half changed.
    ///
    /// # Panics
    /// If the calling thread is in already, or holds 2000 locks.
    #[inline]
    pub fn write(&self) -> Result<Write<'_, T>, OwnerDied<Write<'_, T>>> {
        self.let_in(self.0.pass_gate(None).expect("there is no deadline to pass"))
    }

    /// Lets a writer in if that is possible at once.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn try_write(&self) -> Result<Option<Write<'_, T>>, OwnerDied<Write<'_, T>>> {
        self.0.try_pass_gate().map(|acquired| self.let_in(acquired)).transpose()
    }

    /// Lets a writer in if that is possible within `timeout`, on the monotonic clock.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_timeout(&self, timeout: Duration) -> Result<Option<Write<'_, T>>, OwnerDied<Write<'_, T>>> {
        self.0.pass_gate(Deadline::after(timeout)).map(|acquired| self.let_in(acquired)).transpose()
    }

    /// As [`write_timeout`](Self::write_timeout), until `deadline`.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_deadline(&self, deadline: Instant) -> Result<Option<Write<'_, T>>, OwnerDied<Write<'_, T>>> {
        self.write_timeout(remaining(deadline))
    }

    /// Whether a reader or a writer is in, or a writer waits for readers to leave; may have changed by the time it returns.
    pub fn is_locked(&self) -> bool {
        self.0.gate.is_held() || self.0.seats.iter().any(RawLock::is_held)
    }

    /// Waits until no reader or writer is in and returns a copy of the data; other handles can go on using the lock.
    ///
    /// # Errors
    /// [`OwnerDied`] with the data, if they may be half changed.
    pub fn into_inner(self) -> Result<T, OwnerDied<T>> {
        // SAFETY: the guard gives exclusive access, and `Plain` data may be copied bit by bit.
        let copy = |guard: Write<'_, T>| unsafe { guard.lock.0.data.get().read() };
        match self.write() {
            Ok(guard) => Ok(copy(guard)),
            Err(died) => Err(died.map(copy)),
        }
    }

    /// The writer that is in or waits for readers to leave, for a message to a person; or a reader that just comes in.
    pub fn holder(&self) -> Option<Holder> {
        self.0.gate.holder()
    }

    /// A guard for a reader that has taken a seat.
    #[inline]
    fn reader_at(&self, seat: usize) -> Result<Read<'_, T>, OwnerDied<Read<'_, T>>> {
        let shared = &*self.0;
        let guard = RwLockReadGuard { lock: self, tenure: Tenure::at(ThreadList::of_holder(), seat) };
        let is_inconsistent = shared.gate.lock().is_inconsistent() && shared.writing.load(Relaxed) != 0;
        if is_inconsistent { Err(OwnerDied::new(guard)) } else { Ok(guard) }
    }

    /// A guard for a writer that has passed the gate.
    #[inline]
    fn let_in(&self, acquired: Acquired) -> Result<Write<'_, T>, OwnerDied<Write<'_, T>>> {
        let shared = &*self.0;
        let guard = RwLockWriteGuard { lock: self, tenure: Tenure::begin(ThreadList::of_holder()) };
        if acquired == Acquired::Inconsistent {
            if shared.writing.load(Relaxed) != 0 {
                return Err(OwnerDied::new(guard));
            }
            // It died before it was let in.
            shared.gate.lock().mark_consistent();
        }
        shared.writing.store(1, Relaxed);
        Ok(guard)
    }
}

impl<T: Plain> Clone for RwLock<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Plain> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RwLock").field("writer", &self.0.gate.lock().owner()).finish_non_exhaustive()
    }
}

/// Shared access to the data of an [`RwLock`], until it is dropped.
///
/// It stays on the thread that it was given to.
#[must_use = "the lock is released when its guard is dropped"]
pub struct RwLockReadGuard<'a, T: Plain> {
    lock: &'a RwLock<T>,
    tenure: Tenure,
}

// SAFETY: `&RwLockReadGuard` gives `&T`, which may be shared.
unsafe impl<T: Plain + Sync> Sync for RwLockReadGuard<'_, T> {}

impl<T: Plain> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: no thread writes while this thread has its seat; any bits are a `T`.
        unsafe { &*self.lock.0.data.get() }
    }
}

impl<T: Plain> Drop for RwLockReadGuard<'_, T> {
    fn drop(&mut self) {
        if let Some(list) = self.tenure.list() {
            self.lock.0.seats[self.tenure.seat()].release_by(list);
        }
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Exclusive access to the data of an [`RwLock`], until it is dropped.
///
/// It stays on the thread that it was given to.
#[must_use = "the lock is released when its guard is dropped"]
pub struct RwLockWriteGuard<'a, T: Plain> {
    lock: &'a RwLock<T>,
    tenure: Tenure,
}

// SAFETY: `&RwLockWriteGuard` gives `&T`, which may be shared, and `mark_consistent`, which changes an atomic, and only
// on the thread that the guard was given to.
unsafe impl<T: Plain + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<'a, T: Plain> RwLockWriteGuard<'a, T> {
    /// Says that the data are in order again, after [`OwnerDied`]. Does nothing on other threads than the one that was
    /// let in.
    pub fn mark_consistent(&self) {
        self.tenure.mark_consistent(&self.lock.0.gate);
    }

    /// Goes on as a reader: no other writer is let in between, and other readers are.
    ///
    /// # Crash safety
    /// If the thread is killed meanwhile, it was a writer that was killed, or a reader.
    ///
    /// # Panics
    /// If the thread holds 2000 other locks; on the copy of a guard that a fork leaves in the child.
    pub fn downgrade(guard: Self) -> RwLockReadGuard<'a, T> {
        let lock = guard.lock;
        let shared = &*lock.0;
        let list = guard.tenure.list().expect("the copy of a guard in a forked child holds nothing");
        // Behind the gate, where any other reader that takes a seat gives it up soon.
        let seat = loop {
            if let Some(seat) = shared.sit_down() {
                break seat;
            }
            shared.seats[first_seat()].wait_while_held(None);
        };
        // From here on the seat is the guard's; and dropping the writer's changes nothing that a reader sees.
        drop(guard);
        RwLockReadGuard { lock, tenure: Tenure::at(list, seat) }
    }
}

impl<T: Plain> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: no other thread is in; any bits are a `T`.
        unsafe { &*self.lock.0.data.get() }
    }
}

impl<T: Plain> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: no other thread is in, and the guard is borrowed exclusively; any bits are a `T`.
        unsafe { &mut *self.lock.0.data.get() }
    }
}

impl<T: Plain> Drop for RwLockWriteGuard<'_, T> {
    fn drop(&mut self) {
        let shared = &*self.lock.0;
        let Some(list) = self.tenure.list() else { return };
        self.tenure.report_panic(&shared.gate);
        if !shared.gate.lock().is_inconsistent() {
            shared.writing.store(0, Relaxed);
        }
        shared.gate.release_by(list);
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Plain> sealed::Sealed for RwLockWriteGuard<'_, T> {}

impl<'d, T: Plain> Lend<'d> for RwLockWriteGuard<'_, T> {
    type Data = &'d mut T;
}

impl<'a, T: Plain + Sync> WaitGuard for RwLockWriteGuard<'a, T> {
    type Unlocked = &'a RwLock<T>;

    fn data(&mut self) -> &mut T {
        self
    }

    fn unlock(self) -> Self::Unlocked {
        self.lock
    }

    fn relock(lock: Self::Unlocked) -> Result<Self, OwnerDied<Self>> {
        lock.write()
    }
}

impl<T: Plain> sealed::Sealed for RwLockReadGuard<'_, T> {}

impl<'d, T: Plain> Lend<'d> for RwLockReadGuard<'_, T> {
    type Data = &'d T;
}

impl<'a, T: Plain + Sync> WaitGuard for RwLockReadGuard<'a, T> {
    type Unlocked = &'a RwLock<T>;

    fn data(&mut self) -> &T {
        self
    }

    fn unlock(self) -> Self::Unlocked {
        self.lock
    }

    fn relock(lock: Self::Unlocked) -> Result<Self, OwnerDied<Self>> {
        lock.read()
    }
}
