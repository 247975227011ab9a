//! Plain values in a row that processes share, with their lock.
//!
//! # Safety
//! The elements lie in memory that holds `len` of them (checked when a handle is made), suitably aligned (pages are),
//! and are reached only by the holder of the lock; any bits are a `T`.
#![allow(unsafe_code)]

use std::{
    fmt, io,
    marker::PhantomData,
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

use kernel::shm::SharedMemory;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sync::{
    OwnerDied, Plain,
    process::{Lock, LockGuard},
};

/// Numbers, or other plain values, in shared memory: every process that has a handle sees the same.
///
/// Comes with a lock, as in Python: each method takes it, and [`lock`](Self::lock) holds it over several steps and gives
/// a slice. Clones and handed-over copies are the same array. Takes two descriptors.
///
/// # Crash safety
/// Setting one element of up to eight bytes happens or does not. Who is killed while it changes larger ones, or several,
/// may leave some changed and some not: the next [`lock`](Self::lock) says so, the other methods go on with what is
/// there. Nobody waits for the dead.
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
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Array<T: Plain + Copy> {
    lock: Lock<()>,
    memory: SharedMemory,
    len: usize,
    elements: PhantomData<T>,
}

impl<T: Plain + Copy> Array<T> {
    const LAYOUT: () = assert!(align_of::<T>() <= 4096, "an element's alignment is at most a page");

    /// Makes an array of `len` elements whose bytes are all zero.
    ///
    /// # Errors
    /// As [`SharedMemory::new`]; `ENOMEM` also for a length beyond what memory can be.
    pub fn new(len: usize) -> io::Result<Self> {
        let () = Self::LAYOUT;
        let bytes = size_of::<T>().checked_mul(len).ok_or(nix::errno::Errno::ENOMEM)?;
        Ok(Self { lock: Lock::new(())?, memory: SharedMemory::new(bytes.max(1))?, len, elements: PhantomData })
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
    pub fn get(&self, i: usize) -> T {
        self.locked()[i]
    }

    /// Changes the element at `i`.
    ///
    /// # Panics
    /// If there is no such element.
    pub fn set(&self, i: usize, value: T) {
        self.locked()[i] = value;
    }

    /// Changes the element at `i` to what `f` makes of it, and returns that. Nobody else changes it meanwhile.
    ///
    /// # Panics
    /// If there is no such element.
    pub fn update(&self, i: usize, f: impl FnOnce(T) -> T) -> T {
        let mut elements = self.locked();
        elements[i] = f(elements[i]);
        elements[i]
    }

    /// A copy of all elements at one moment.
    pub fn to_vec(&self) -> Vec<T> {
        self.locked().to_vec()
    }

    /// A copy of all elements at one moment, one by one.
    pub fn iter(&self) -> std::vec::IntoIter<T> {
        self.to_vec().into_iter()
    }

    /// Changes all elements.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn copy_from_slice(&self, elements: &[T]) {
        self.locked().copy_from_slice(elements);
    }

    /// Changes all elements to `value`.
    pub fn fill(&self, value: T) {
        self.locked().fill(value);
    }

    /// Holds the lock until the guard is dropped; waits for it. The guard is a slice of the elements.
    ///
    /// # Errors
    /// [`OwnerDied`] with the guard, if a process was killed while it held the lock.
    ///
    /// # Panics
    /// If the calling thread holds the lock already.
    #[doc(alias = "get_lock")]
    pub fn lock(&self) -> Result<ArrayGuard<'_, T>, OwnerDied<ArrayGuard<'_, T>>> {
        self.lock.lock().map(|guard| self.guard(guard)).map_err(|died| died.map(|guard| self.guard(guard)))
    }

    /// Under the lock. What a dead holder may have left behind are values, and as good as any.
    fn locked(&self) -> ArrayGuard<'_, T> {
        self.lock().unwrap_or_else(OwnerDied::into_inner)
    }

    fn guard<'a>(&'a self, lock: LockGuard<'a, ()>) -> ArrayGuard<'a, T> {
        ArrayGuard { start: self.memory.as_ptr().cast(), len: self.len, lock, elements: PhantomData }
    }
}

/// The elements of an [`Array`], while its lock is held.
#[must_use = "the lock is released when its guard is dropped"]
pub struct ArrayGuard<'a, T: Plain + Copy> {
    start: NonNull<T>,
    len: usize,
    lock: LockGuard<'a, ()>,
    elements: PhantomData<&'a mut [T]>,
}

impl<T: Plain + Copy> ArrayGuard<'_, T> {
    /// Says that the elements are in order again, after [`OwnerDied`].
    pub fn mark_consistent(&self) {
        self.lock.mark_consistent();
    }
}

impl<T: Plain + Copy> Deref for ArrayGuard<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the memory holds `len` elements, any bits are some, and this thread holds their lock.
        unsafe { NonNull::slice_from_raw_parts(self.start, self.len).as_ref() }
    }
}

impl<T: Plain + Copy> DerefMut for ArrayGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and the guard is borrowed exclusively.
        unsafe { NonNull::slice_from_raw_parts(self.start, self.len).as_mut() }
    }
}

impl<T: Plain + Copy + fmt::Debug> fmt::Debug for ArrayGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Plain + Copy> Clone for Array<T> {
    fn clone(&self) -> Self {
        Self { lock: self.lock.clone(), memory: self.memory.clone(), len: self.len, elements: PhantomData }
    }
}

impl<T: Plain + Copy> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Array").field("len", &self.len).finish_non_exhaustive()
    }
}

impl<T: Plain + Copy> IntoIterator for &Array<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: Plain + Copy> Serialize for Array<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.lock, &self.memory, self.len).serialize(serializer)
    }
}

impl<'de, T: Plain + Copy> Deserialize<'de> for Array<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let () = Self::LAYOUT;
        let (lock, memory, len): (Lock<()>, SharedMemory, usize) = Deserialize::deserialize(deserializer)?;
        if size_of::<T>().checked_mul(len).is_none_or(|bytes| bytes > memory.len()) {
            return Err(de::Error::custom("shared memory is too short for its array"));
        }
        Ok(Self { lock, memory, len, elements: PhantomData })
    }
}
