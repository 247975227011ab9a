//! Values in a row that processes share, with their lock.
//!
//! # Safety
//! The elements lie in memory that holds `len` of them (checked when a handle is made), suitably aligned (pages are),
//! and are reached only by the holder of the lock, and through a reference only while [`Loans`] know of it: then nothing
//! else changes them. Any bits are a `Stored`, and copies bit by bit are as good.

mod elements;
mod guard;

use std::{fmt, io, marker::PhantomData, time::Duration};

use kernel::{handover, shm::SharedMemory};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sync::{
    Element, InvalidElement, OwnerDied, Plain,
    process::{RLock, RLockGuard},
};

use self::elements::Elements;
pub use self::guard::ArrayGuard;
use super::{
    loans::{GuardLoan, Loans, locked},
    rows::Rows,
    value::sure,
};

/// Numbers, or other plain values, in shared memory: every process that has a handle sees the same.
///
/// `T` is a number, `bool`, `char`, or an `Option`, array or tuple of such; or a type that derives
/// [`Element`](derive@crate::Element) or [`Plain`](derive@crate::Plain).
///
/// Comes with a lock, as in Python: each method takes it, and [`lock`](Self::lock) holds it over several steps and gives
/// a slice. The thread that holds it can go on using the array, and lock again. Clones and handed-over copies are the
/// same array. Takes two descriptors. [`RawArray`](crate::RawArray) is one without a lock.
///
/// # Crash safety
/// Setting one element of up to eight bytes happens or does not. A process that is killed while it changes larger ones, or
/// several, may leave some changed and some not: the next [`lock`](Self::lock) says so, the other methods go on with what
/// is there. No process waits for a dead one.
///
/// # Panics
/// Reading an element whose memory holds no `T`, which happens only if a program has overwritten it;
/// [`try_get`](Self::try_get) tells instead. And each method where it says so; all but `len` and the like panic if a
/// guard of this thread has lent a slice that they would read or change (see [`ArrayGuard`]).
///
/// # Examples
/// ```
/// use ipc::Array;
/// use proc_core::Process;
///
/// fn square(numbers: Array<f64>) {
///     for i in 0..numbers.len() {
///         numbers.update(i, |x| x * x);
///     }
/// }
///
/// let numbers = Array::from_slice(&[1.0, 2.0, 3.0])?;
/// Process::spawn(square, (numbers.clone(),))?.join()?;
/// assert_eq!(numbers.to_vec(), [1.0, 4.0, 9.0]);
///
/// let held = numbers.lock()?; // as Python's `with numbers.get_lock():`
/// numbers.set(0, numbers.get(1) + numbers.get(2));
/// drop(held);
/// numbers.lock()?.reverse(); // a slice, in place
/// assert_eq!(numbers.to_vec(), [9.0, 4.0, 13.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Array<T: Element + Copy> {
    lock: RLock<Loans>,
    memory: SharedMemory,
    len: usize,
    elements: PhantomData<T>,
}

type Locked<'a, T> = Result<ArrayGuard<'a, T>, OwnerDied<ArrayGuard<'a, T>>>;

impl<T: Element + Copy> Array<T> {
    const LAYOUT: () = assert!(align_of::<T::Stored>() <= 4096, "an element's alignment is at most a page");

    /// Makes an array of `len` elements whose bytes are all zero: 0, `false`, `'\0'`, `None`, an enum's first variant.
    ///
    /// # Errors
    /// As [`SharedMemory::new`]; `ENOMEM` also for a length beyond what memory can be.
    pub fn new(len: usize) -> io::Result<Self> {
        let () = Self::LAYOUT;
        let bytes = size_of::<T::Stored>().checked_mul(len).ok_or(nix::errno::Errno::ENOMEM)?;
        let memory = SharedMemory::new(bytes.max(1))?;
        Ok(Self { lock: RLock::new(Loans::default())?, memory, len, elements: PhantomData })
    }

    /// Makes an array of these elements.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_slice(elements: &[T]) -> io::Result<Self> {
        let array = Self::new(elements.len())?;
        array.copy_from_slice(elements);
        Ok(array)
    }

    /// How many elements there are: always as many.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The element at `i` now.
    ///
    /// # Panics
    /// If there is no such element.
    #[track_caller]
    pub fn get(&self, i: usize) -> T {
        sure(self.try_get(i))
    }

    /// The element at `i` now, unless the memory holds something that is none.
    ///
    /// # Errors
    /// [`InvalidElement`] if some program has overwritten the memory with what is no `T`.
    ///
    /// # Panics
    /// If there is no such element.
    #[track_caller]
    pub fn try_get(&self, i: usize) -> Result<T, InvalidElement> {
        let _held = self.readable();
        self.elements().read(i)
    }

    /// Changes the element at `i`.
    ///
    /// # Panics
    /// If there is no such element.
    #[track_caller]
    pub fn set(&self, i: usize, value: T) {
        let _held = self.writable();
        self.elements().write(i, value);
    }

    /// Changes the element at `i` to what `f` makes of it, and returns that. No other thread changes it meanwhile.
    ///
    /// # Panics
    /// If there is no such element; and when `f` does.
    #[track_caller]
    pub fn update(&self, i: usize, f: impl FnOnce(T) -> T) -> T {
        let held = self.readable();
        let value = f(sure(self.elements().read(i)));
        held.assert_writable();
        self.elements().write(i, value);
        value
    }

    /// A copy of all elements at one moment.
    #[track_caller]
    pub fn to_vec(&self) -> Vec<T> {
        let _held = self.readable();
        sure(self.elements().read_all())
    }

    /// A copy of all elements at one moment, one by one.
    #[track_caller]
    pub fn iter(&self) -> std::vec::IntoIter<T> {
        self.to_vec().into_iter()
    }

    /// Changes all elements.
    ///
    /// # Panics
    /// If there are not as many.
    #[track_caller]
    pub fn copy_from_slice(&self, elements: &[T]) {
        let _held = self.writable();
        self.elements().write_all(elements);
    }

    /// Changes all elements to `value`.
    #[track_caller]
    pub fn fill(&self, value: T) {
        let _held = self.writable();
        (0..self.len).for_each(|i| self.elements().write(i, value));
    }

    /// Holds the lock until the guard is dropped; waits for it, unless this thread holds it already. Meanwhile this
    /// thread can use the array as before, and others wait. The guard is a slice of the elements, if these lie in the
    /// memory as they are.
    ///
    /// # Errors
    /// [`OwnerDied`] with the guard, if a process was killed while it held the lock.
    ///
    /// # Panics
    /// If the calling thread holds 2000 other locks.
    #[doc(alias = "get_lock")]
    #[doc(alias = "get_obj")]
    pub fn lock(&self) -> Locked<'_, T> {
        self.guard(self.lock.lock())
    }

    /// As [`lock`](Self::lock), if that is possible at once; `None` if another thread holds it.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn try_lock(&self) -> Result<Option<ArrayGuard<'_, T>>, OwnerDied<ArrayGuard<'_, T>>> {
        self.lock.try_lock().transpose().map(|result| self.guard(result)).transpose()
    }

    /// As [`lock`](Self::lock), if that is possible within `timeout`, on the monotonic clock; `None` otherwise.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<ArrayGuard<'_, T>>, OwnerDied<ArrayGuard<'_, T>>> {
        self.lock.lock_timeout(timeout).transpose().map(|result| self.guard(result)).transpose()
    }

    /// Splits it into rows of `row_len` elements, each with a lock of its own, so that several processes can change
    /// rows at the same time, each as a slice. Waits for the lock.
    ///
    /// Other handles to the array are of no use any more: their methods panic.
    ///
    /// # Errors
    /// `InvalidInput` if the length is no multiple of `row_len`, or there were more than 1,024 rows; else as
    /// [`SharedMemory::new`].
    ///
    /// # Panics
    /// If the array was split before; or if a guard of this thread, by another handle, has lent a slice.
    ///
    /// # Examples
    /// ```
    /// use ipc::{Array, Row};
    /// use proc_core::Process;
    ///
    /// fn fill(row: Row<f64>) {
    ///     let mut row = row.lock().unwrap();
    ///     let i = row.index();
    ///     row.fill(i as f64);
    /// }
    ///
    /// let rows = Array::new(6)?.split_rows(3)?;
    /// let children: Vec<_> = rows.iter().map(|row| Process::spawn(fill, (row,))).collect::<Result<_, _>>()?;
    /// for child in children {
    ///     child.join()?;
    /// }
    /// assert_eq!(rows.to_vec(), [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn split_rows(self, row_len: usize) -> io::Result<Rows<T>>
    where
        T: Element<Stored = T> + Plain,
    {
        let held = self.writable();
        let rows = Rows::new(self.memory.clone(), self.len, row_len)?;
        held.split();
        drop(held);
        Ok(rows)
    }

    /// Whether any thread holds the lock; may have changed by the time it returns.
    pub fn is_locked(&self) -> bool {
        self.lock.is_locked()
    }

    /// Under the lock. What a dead holder may have left behind are values, and as good as any.
    fn held(&self) -> RLockGuard<'_, Loans> {
        locked(self.lock.lock()).unwrap_or_else(OwnerDied::into_inner)
    }

    #[track_caller]
    fn readable(&self) -> RLockGuard<'_, Loans> {
        Loans::readable(self.held())
    }

    #[track_caller]
    fn writable(&self) -> RLockGuard<'_, Loans> {
        Loans::writable(self.held())
    }

    fn guard<'a>(&'a self, result: Result<RLockGuard<'a, Loans>, OwnerDied<RLockGuard<'a, Loans>>>) -> Locked<'a, T> {
        let guard =
            |held| ArrayGuard { elements: self.elements(), held, loan: GuardLoan::default(), array: PhantomData };
        locked(result).map(guard).map_err(|died| died.map(guard))
    }

    fn elements(&self) -> Elements<T> {
        Elements { start: self.memory.as_ptr().cast(), len: self.len }
    }
}

impl<T: Element + Copy> Clone for Array<T> {
    fn clone(&self) -> Self {
        Self { lock: self.lock.clone(), memory: self.memory.clone(), len: self.len, elements: PhantomData }
    }
}

impl<T: Element + Copy> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Array").field("len", &self.len).finish_non_exhaustive()
    }
}

impl<T: Element + Copy> IntoIterator for &Array<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: Element + Copy> Serialize for Array<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        handover::check_sending::<Self, S>()?;
        (&self.lock, &self.memory, self.len).serialize(serializer)
    }
}

impl<'de, T: Element + Copy> Deserialize<'de> for Array<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let () = Self::LAYOUT;
        let (lock, memory, len): (RLock<Loans>, SharedMemory, usize) = Deserialize::deserialize(deserializer)?;
        if size_of::<T::Stored>().checked_mul(len).is_none_or(|bytes| bytes > memory.len()) {
            return Err(de::Error::custom("shared memory is too short for its array"));
        }
        Ok(Self { lock, memory, len, elements: PhantomData })
    }
}
