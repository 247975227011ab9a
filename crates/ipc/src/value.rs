//! One plain value that processes share, with its lock.
//!
//! # Safety
//! [`Twin`] is made of `Plain` parts, and its type parameter is `Copy`.
#![allow(unsafe_code)]

use std::{
    fmt, io,
    ops::{Deref, DerefMut},
    sync::atomic::{AtomicU32, Ordering},
};

use serde::{Deserialize, Serialize};
use sync::{
    OwnerDied, Plain,
    process::{Lock, LockGuard},
};

/// A number, or other plain value, in shared memory: every process that has a handle sees the same.
///
/// Comes with a lock, as in Python: each method takes it, and [`lock`](Self::lock) holds it over several steps. Clones
/// and handed-over copies are the same value. Takes one descriptor and one page.
///
/// # Crash safety
/// `set`, `update` and `fetch_add` happen or do not: whoever is killed inside leaves the former value or the new one,
/// whatever its size, and nobody waits for the dead. Who is killed holding [`lock`](Self::lock)'s guard may leave a value
/// that is half changed; the next `lock` says so, the other methods go on with what is there.
///
/// # Examples
/// ```
/// use ipc::Value;
/// use proc_core::Process;
///
/// fn count(hits: Value<i64>) {
///     for _ in 0..1000 {
///         hits.fetch_add(1);
///     }
/// }
///
/// let hits = Value::new(0)?;
/// let children: Vec<_> = (0..2).map(|_| Process::spawn(count, (hits.clone(),))).collect::<Result<_, _>>()?;
/// for child in children {
///     child.join()?;
/// }
/// assert_eq!(hits.get(), 2000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(bound = "", transparent)]
pub struct Value<T: Plain + Copy>(Lock<Twin<T>>);

/// Two places for the value, so that a change becomes one store: to the word that says which of them counts.
#[repr(C)]
struct Twin<T> {
    current: AtomicU32,
    places: [T; 2],
}

// SAFETY: an atomic and `Plain` values; copies bit by bit are as good.
unsafe impl<T: Plain + Copy> Plain for Twin<T> {}

impl<T: Plain + Copy> Twin<T> {
    fn index(&self) -> usize {
        self.current.load(Ordering::Relaxed) as usize & 1
    }

    fn get(&self) -> T {
        self.places[self.index()]
    }

    fn change(&mut self, value: T) {
        let other = self.index() ^ 1;
        self.places[other] = value;
        self.current.store(other as u32, Ordering::Release);
    }
}

impl<T: Plain + Copy> Value<T> {
    /// Makes a value.
    ///
    /// # Errors
    /// As [`SharedMemory::new`](kernel::shm::SharedMemory::new).
    pub fn new(value: T) -> io::Result<Self> {
        Ok(Self(Lock::new(Twin { current: AtomicU32::new(0), places: [value; 2] })?))
    }

    /// The value now.
    pub fn get(&self) -> T {
        self.with(|twin| twin.get())
    }

    /// Changes the value.
    pub fn set(&self, value: T) {
        self.with(|twin| twin.change(value));
    }

    /// Changes the value to what `f` makes of it, and returns that. Nobody else changes it meanwhile.
    ///
    /// # Examples
    /// ```
    /// let doubled = ipc::Value::new(21)?.update(|n| n * 2);
    /// assert_eq!(doubled, 42);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn update(&self, f: impl FnOnce(T) -> T) -> T {
        self.with(|twin| {
            let value = f(twin.get());
            twin.change(value);
            value
        })
    }

    /// Holds the lock until the guard is dropped; waits for it. The guard is the value.
    ///
    /// # Errors
    /// [`OwnerDied`] with the guard, if a process was killed while it held the lock.
    ///
    /// # Panics
    /// If the calling thread holds the lock already.
    #[doc(alias = "get_lock")]
    pub fn lock(&self) -> Result<ValueGuard<'_, T>, OwnerDied<ValueGuard<'_, T>>> {
        self.0.lock().map(ValueGuard).map_err(|died| died.map(ValueGuard))
    }

    /// Under the lock. What a dead holder may have left behind is a value, and as good as any.
    fn with<R>(&self, f: impl FnOnce(&mut Twin<T>) -> R) -> R {
        let mut guard = match self.0.lock() {
            Ok(guard) => guard,
            Err(died) => died.into_inner(),
        };
        f(&mut guard)
    }
}

/// The value of a [`Value`], while its lock is held.
#[must_use = "the lock is released when its guard is dropped"]
pub struct ValueGuard<'a, T: Plain + Copy>(LockGuard<'a, Twin<T>>);

impl<T: Plain + Copy> ValueGuard<'_, T> {
    /// Says that the value is in order again, after [`OwnerDied`].
    pub fn mark_consistent(&self) {
        self.0.mark_consistent();
    }
}

impl<T: Plain + Copy> Deref for ValueGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.places[self.0.index()]
    }
}

impl<T: Plain + Copy> DerefMut for ValueGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        let i = self.0.index();
        &mut self.0.places[i]
    }
}

impl<T: Plain + Copy + fmt::Debug> fmt::Debug for ValueGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Plain + Copy + fmt::Debug> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.try_lock() {
            Ok(Some(guard)) => f.debug_tuple("Value").field(&guard.get()).finish(),
            _ => f.write_str("Value(<locked>)"),
        }
    }
}

macro_rules! integers {
    ($($t:ty)*) => {
        $(
            impl Value<$t> {
                /// Adds `n`, wrapping around at the type's bounds, and returns the value from before.
                pub fn fetch_add(&self, n: $t) -> $t {
                    self.update(|value| value.wrapping_add(n)).wrapping_sub(n)
                }

                /// Subtracts `n`, wrapping around at the type's bounds, and returns the value from before.
                pub fn fetch_sub(&self, n: $t) -> $t {
                    self.update(|value| value.wrapping_sub(n)).wrapping_add(n)
                }
            }
        )*
    };
}
integers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);
