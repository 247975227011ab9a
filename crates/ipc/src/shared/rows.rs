//! An array that was split into rows, each with a lock of its own.
//!
//! # Safety
//! The rows lie in memory that holds them (checked when a handle is made), suitably aligned (pages are), one behind the
//! other. Only the holder of its lock reaches a row; any bits are elements. The array that the memory was of refuses all
//! use.
#![allow(unsafe_code)]

use std::{
    fmt, io,
    marker::PhantomData,
    ops::{Deref, DerefMut, Range},
    ptr::NonNull,
    time::Duration,
};

use kernel::{handover, shm::SharedMemory};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sync::{
    Element, OwnerDied, Plain,
    process::{LockGuard, Locks},
};

/// A thread can hold some 2,000 locks, and [`Rows::lock`] holds all of these.
const MAX_ROWS: usize = 1024;

/// The rows of an array, which several processes can change at the same time. Made by
/// [`Array::split_rows`](crate::Array::split_rows).
///
/// To lock a row gives it as a slice; to [lock](Self::lock) all gives one slice of all, without a copy. Clones and
/// handed-over copies are the same rows; a [`Row`] is a handle to one. Takes one descriptor, and one for each 63 rows.
///
/// # Crash safety
/// If the holder of a row is killed, or panics, the next one to lock the row, or all, is told by [`OwnerDied`], with the
/// guard; the row is as the dead holder left it. No process waits for a dead one.
pub struct Rows<T: Element<Stored = T> + Plain + Copy> {
    locks: Locks,
    memory: SharedMemory,
    len: usize,
    row_len: usize,
    elements: PhantomData<T>,
}

impl<T: Element<Stored = T> + Plain + Copy> Rows<T> {
    pub(super) fn new(memory: SharedMemory, len: usize, row_len: usize) -> io::Result<Self> {
        let n_rows = len.checked_div(row_len).filter(|_| len.is_multiple_of(row_len));
        let n_rows = n_rows.filter(|n| *n <= MAX_ROWS).ok_or_else(|| {
            let message = format!("{len} elements are not rows of {row_len} each, or are more than {MAX_ROWS} rows");
            io::Error::new(io::ErrorKind::InvalidInput, message)
        })?;
        Ok(Self { locks: Locks::new(n_rows)?, memory, len, row_len, elements: PhantomData })
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.len / self.row_len
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A handle to the row `i`.
    ///
    /// # Panics
    /// If there is no such row.
    #[track_caller]
    pub fn row(&self, i: usize) -> Row<T> {
        assert!(i < self.len(), "there are {} rows, and none at {i}", self.len());
        Row { rows: self.clone(), index: i }
    }

    /// A handle to each row.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Row<T>> + '_ {
        (0..self.len()).map(|i| self.row(i))
    }

    /// Holds the locks of all rows until the guard is dropped; waits for each of them. The guard is one slice of all.
    ///
    /// # Errors
    /// [`OwnerDied`] with the guard, if a process was killed while it held one of them.
    ///
    /// # Panics
    /// If the calling thread holds one of them already, or too many other locks.
    pub fn lock(&self) -> Result<RowsGuard<'_, T>, OwnerDied<RowsGuard<'_, T>>> {
        let (mut locks, mut died) = (Vec::with_capacity(self.len()), None);
        // Every thread that locks several takes them in this order.
        for i in 0..self.len() {
            match self.locks.lock(i) {
                Ok(lock) => locks.push(lock),
                Err(e) => died = Some(e.map(|lock| locks.push(lock))),
            }
        }
        let guard = RowsGuard { rows: self, locks };
        match died {
            None => Ok(guard),
            Some(died) => Err(died.map(|()| guard)),
        }
    }

    /// A copy of all elements at one moment.
    ///
    /// # Panics
    /// As [`lock`](Self::lock).
    pub fn to_vec(&self) -> Vec<T> {
        self.lock().unwrap_or_else(OwnerDied::into_inner).to_vec()
    }

    /// Where elements are.
    fn part(&self, range: Range<usize>) -> NonNull<[T]> {
        debug_assert!(range.end <= self.len);
        // SAFETY: the memory holds `len` elements.
        let start = unsafe { self.memory.as_ptr().cast::<T>().add(range.start) };
        NonNull::slice_from_raw_parts(start, range.len())
    }
}

/// A handle to one of the [`Rows`] of an array.
pub struct Row<T: Element<Stored = T> + Plain + Copy> {
    rows: Rows<T>,
    index: usize,
}

type Locked<'a, T> = Result<RowGuard<'a, T>, OwnerDied<RowGuard<'a, T>>>;

impl<T: Element<Stored = T> + Plain + Copy> Row<T> {
    /// Which row it is, counted from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Holds the row's lock until the guard is dropped; waits for it. The guard is a slice of the row.
    ///
    /// # Errors
    /// [`OwnerDied`] with the guard, if a process was killed while it held the lock.
    ///
    /// # Panics
    /// If the calling thread holds the lock already, or 2000 others.
    pub fn lock(&self) -> Locked<'_, T> {
        self.rows.locks.lock(self.index).map(|lock| self.guard(lock)).map_err(|died| died.map(|lock| self.guard(lock)))
    }

    /// As [`lock`](Self::lock), if that is possible at once; `None` if it is held.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn try_lock(&self) -> Result<Option<RowGuard<'_, T>>, OwnerDied<RowGuard<'_, T>>> {
        let locked = self.rows.locks.try_lock(self.index);
        locked.map(|lock| lock.map(|lock| self.guard(lock))).map_err(|died| died.map(|lock| self.guard(lock)))
    }

    /// As [`lock`](Self::lock), if that is possible within `timeout`, on the monotonic clock; `None` otherwise.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<RowGuard<'_, T>>, OwnerDied<RowGuard<'_, T>>> {
        let locked = self.rows.locks.lock_timeout(self.index, timeout);
        locked.map(|lock| lock.map(|lock| self.guard(lock))).map_err(|died| died.map(|lock| self.guard(lock)))
    }

    fn guard<'a>(&'a self, lock: LockGuard<'a, ()>) -> RowGuard<'a, T> {
        RowGuard { row: self, lock }
    }

    fn place(&self) -> NonNull<[T]> {
        let start = self.index * self.rows.row_len;
        self.rows.part(start..start + self.rows.row_len)
    }
}

/// A [`Row`] whose lock this thread holds: a slice of its elements.
#[must_use = "the lock is released when its guard is dropped"]
pub struct RowGuard<'a, T: Element<Stored = T> + Plain + Copy> {
    row: &'a Row<T>,
    lock: LockGuard<'a, ()>,
}

impl<T: Element<Stored = T> + Plain + Copy> RowGuard<'_, T> {
    /// Which row it is, counted from 0.
    pub fn index(&self) -> usize {
        self.row.index
    }

    /// Says that the row is in order again, after [`OwnerDied`].
    pub fn mark_consistent(&self) {
        self.lock.mark_consistent();
    }
}

impl<T: Element<Stored = T> + Plain + Copy> Deref for RowGuard<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the row lies in the memory, any bits are elements, and this thread holds its lock.
        unsafe { self.row.place().as_ref() }
    }
}

impl<T: Element<Stored = T> + Plain + Copy> DerefMut for RowGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and the guard is borrowed exclusively.
        unsafe { self.row.place().as_mut() }
    }
}

/// All [`Rows`] of an array, whose locks this thread holds: a slice of all elements.
#[must_use = "the locks are released when their guard is dropped"]
pub struct RowsGuard<'a, T: Element<Stored = T> + Plain + Copy> {
    rows: &'a Rows<T>,
    locks: Vec<LockGuard<'a, ()>>,
}

impl<T: Element<Stored = T> + Plain + Copy> RowsGuard<'_, T> {
    /// How many rows there are, and how long each is.
    pub fn shape(&self) -> (usize, usize) {
        (self.locks.len(), self.rows.row_len)
    }

    /// Says that all rows are in order again, after [`OwnerDied`].
    pub fn mark_consistent(&self) {
        self.locks.iter().for_each(LockGuard::mark_consistent);
    }
}

impl<T: Element<Stored = T> + Plain + Copy> Deref for RowsGuard<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the rows lie in the memory, any bits are elements, and this thread holds all their locks.
        unsafe { self.rows.part(0..self.rows.len).as_ref() }
    }
}

impl<T: Element<Stored = T> + Plain + Copy> DerefMut for RowsGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and the guard is borrowed exclusively.
        unsafe { self.rows.part(0..self.rows.len).as_mut() }
    }
}

impl<T: Element<Stored = T> + Plain + Copy> Clone for Rows<T> {
    fn clone(&self) -> Self {
        let (locks, memory) = (self.locks.clone(), self.memory.clone());
        Self { locks, memory, len: self.len, row_len: self.row_len, elements: PhantomData }
    }
}

impl<T: Element<Stored = T> + Plain + Copy> Clone for Row<T> {
    fn clone(&self) -> Self {
        Self { rows: self.rows.clone(), index: self.index }
    }
}

impl<T: Element<Stored = T> + Plain + Copy> Serialize for Rows<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        handover::check_sending::<Self, S>()?;
        (&self.locks, &self.memory, self.len, self.row_len).serialize(serializer)
    }
}

impl<'de, T: Element<Stored = T> + Plain + Copy> Deserialize<'de> for Rows<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (locks, memory, len, row_len): (Locks, SharedMemory, usize, usize) =
            Deserialize::deserialize(deserializer)?;
        let n_rows = len.checked_div(row_len).filter(|_| len.is_multiple_of(row_len));
        let fits = size_of::<T>().checked_mul(len).is_some_and(|bytes| bytes <= memory.len());
        if !fits || n_rows.is_none_or(|n| n > locks.len() || n > MAX_ROWS) {
            return Err(de::Error::custom("shared memory or locks are too few for these rows"));
        }
        Ok(Self { locks, memory, len, row_len, elements: PhantomData })
    }
}

impl<T: Element<Stored = T> + Plain + Copy> Serialize for Row<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        handover::check_sending::<Self, S>()?;
        (&self.rows, self.index).serialize(serializer)
    }
}

impl<'de, T: Element<Stored = T> + Plain + Copy> Deserialize<'de> for Row<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (rows, index): (Rows<T>, usize) = Deserialize::deserialize(deserializer)?;
        if index < rows.len() { Ok(Self { rows, index }) } else { Err(de::Error::custom("there is no such row")) }
    }
}

impl<T: Element<Stored = T> + Plain + Copy> fmt::Debug for Rows<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("len", &self.len()).field("row_len", &self.row_len).finish_non_exhaustive()
    }
}

impl<T: Element<Stored = T> + Plain + Copy> fmt::Debug for Row<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").field("index", &self.index).finish_non_exhaustive()
    }
}

impl<T: Element<Stored = T> + Plain + Copy + fmt::Debug> fmt::Debug for RowGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Element<Stored = T> + Plain + Copy + fmt::Debug> fmt::Debug for RowsGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
