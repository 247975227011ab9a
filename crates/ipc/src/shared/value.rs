//! One value that processes share, with its lock.
//!
//! # Safety
//! [`Twin`] is made of `Plain` parts, of which copies bit by bit may be made. Its places are reached by the holder of
//! the lock alone, and through a reference only while [`Loans`] know of it: then nothing else changes them.
#![allow(unsafe_code)]

use std::{
    cell::Cell,
    fmt, io, mem,
    ops::{Deref, DerefMut},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use serde::Deserialize;
use sync::{
    Element, InvalidElement, OwnerDied, Plain,
    process::{RLock, RLockGuard},
};

use super::loans::{GuardLoan, Lends, Loans, locked};

/// A number, or other plain value, in shared memory: every process that has a handle sees the same.
///
/// `T` is a number, `bool`, `char`, or an `Option`, array or tuple of such; or a type that derives
/// [`Element`](derive@crate::Element) or [`Plain`](derive@crate::Plain).
///
/// Comes with a lock, as in Python: each method takes it, and [`lock`](Self::lock) holds it over several steps. The
/// thread that holds it can go on using the value, and lock again. Clones and handed-over copies are the same value.
/// Takes one descriptor and one page. [`RawValue`](crate::RawValue) is one without a lock.
///
/// # Crash safety
/// `set`, `update` and `fetch_add` happen or do not: a process that is killed inside leaves the former value or the new
/// one, whatever its size, and no process waits for a dead one. A process that is killed holding [`lock`](Self::lock)'s
/// guard may leave a value that is half changed; the next `lock` says so, the other methods go on with what is there.
///
/// # Panics
/// Reading a value whose memory holds no `T`, which happens only if a program has overwritten it;
/// [`try_get`](Self::try_get) tells instead. And each method where it says so.
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
///
/// // As Python's `with hits.get_lock(): hits.value += 1`:
/// let _held = hits.lock()?;
/// hits.set(hits.get() + 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Deserialize)]
#[serde(bound = "", transparent)]
pub struct Value<T: Element + Copy>(RLock<Twin<T::Stored>>);

kernel::serialize_as_inner!(Value<T> where T: [Element + Copy]);

/// Two places for the value, so that a change becomes one store: to the word that says which of them counts.
#[repr(C)]
struct Twin<S> {
    current: AtomicU32,
    loans: Loans,
    places: [Cell<S>; 2],
}

// SAFETY: atomics and `Plain` values; copies bit by bit are as good.
unsafe impl<S: Plain> Plain for Twin<S> {}

impl<S: Plain> Lends for Twin<S> {
    fn loans(&self) -> &Loans {
        &self.loans
    }
}

impl<S: Plain> Twin<S> {
    fn new(value: S) -> Self {
        // SAFETY: `Plain` types are valid for any bits.
        let unused = unsafe { mem::zeroed() };
        Self { current: 0.into(), loans: Loans::default(), places: [Cell::new(value), Cell::new(unused)] }
    }

    fn index(&self) -> usize {
        // Relaxed: the lock orders what its holders do.
        self.current.load(Ordering::Relaxed) as usize & 1
    }

    /// Where the value is. Good to read from while no guard has lent it mutably.
    fn place(&self) -> *mut S {
        self.places[self.index()].as_ptr()
    }

    /// A copy. No guard has lent the value mutably.
    fn read(&self) -> S {
        // SAFETY: `Plain` data may be copied bit by bit, and this thread alone can change them.
        unsafe { self.place().read() }
    }

    /// No guard has lent the value.
    fn write(&self, value: S) {
        let other = self.index() ^ 1;
        self.places[other].set(value);
        // Release: if this thread is killed, the place is written before it counts.
        self.current.store(other as u32, Ordering::Release);
    }
}

type Locked<'a, T> = Result<ValueGuard<'a, T>, OwnerDied<ValueGuard<'a, T>>>;

impl<T: Element + Copy> Value<T> {
    /// Makes a value.
    ///
    /// # Errors
    /// As [`SharedMemory::new`](kernel::shm::SharedMemory::new).
    pub fn new(value: T) -> io::Result<Self> {
        Ok(Self(RLock::new(Twin::new(value.store()))?))
    }

    /// The value now. Waits for the lock.
    ///
    /// # Panics
    /// If a guard of this thread has lent the value mutably (see [`ValueGuard`]), or the memory holds no `T`.
    #[track_caller]
    pub fn get(&self) -> T {
        sure(self.try_get())
    }

    /// The value now, unless the memory holds something that is none. Waits for the lock.
    ///
    /// # Errors
    /// [`InvalidElement`] if some program has overwritten the memory with what is no `T`.
    ///
    /// # Panics
    /// If a guard of this thread has lent the value mutably (see [`ValueGuard`]).
    #[track_caller]
    pub fn try_get(&self) -> Result<T, InvalidElement> {
        let twin = Loans::readable(self.held());
        T::load(twin.read())
    }

    /// Changes the value. Waits for the lock.
    ///
    /// # Panics
    /// If a guard of this thread has lent a reference to the value (see [`ValueGuard`]).
    #[track_caller]
    pub fn set(&self, value: T) {
        let twin = Loans::writable(self.held());
        twin.write(value.store());
    }

    /// Changes the value to what `f` makes of it, and returns that. No other thread changes it meanwhile. Waits for the lock.
    ///
    /// # Panics
    /// As [`get`](Self::get) and [`set`](Self::set); and when `f` does.
    ///
    /// # Examples
    /// ```
    /// let doubled = ipc::Value::new(21)?.update(|n| n * 2);
    /// assert_eq!(doubled, 42);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn update(&self, f: impl FnOnce(T) -> T) -> T {
        let twin = Loans::readable(self.held());
        let value = f(sure(T::load(twin.read())));
        twin.loans.assert_writable();
        twin.write(value.store());
        value
    }

    /// Holds the lock until the guard is dropped; waits for it, unless this thread holds it already. Meanwhile this
    /// thread can use the value as before, and others wait.
    ///
    /// # Errors
    /// [`OwnerDied`] with the guard, if a process was killed while it held the lock.
    ///
    /// # Panics
    /// If the calling thread holds 2000 other locks.
    #[doc(alias = "get_lock")]
    pub fn lock(&self) -> Locked<'_, T> {
        ValueGuard::of(self.0.lock())
    }

    /// As [`lock`](Self::lock), if that is possible at once; `None` if another thread holds it.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn try_lock(&self) -> Result<Option<ValueGuard<'_, T>>, OwnerDied<ValueGuard<'_, T>>> {
        self.0.try_lock().transpose().map(ValueGuard::of).transpose()
    }

    /// As [`lock`](Self::lock), if that is possible within `timeout`, on the monotonic clock; `None` otherwise.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<ValueGuard<'_, T>>, OwnerDied<ValueGuard<'_, T>>> {
        self.0.lock_timeout(timeout).transpose().map(ValueGuard::of).transpose()
    }

    /// Whether any thread holds the lock; may have changed by the time it returns.
    pub fn is_locked(&self) -> bool {
        self.0.is_locked()
    }

    /// Under the lock. What a dead holder may have left behind is a value, and as good as any.
    fn held(&self) -> RLockGuard<'_, Twin<T::Stored>> {
        locked(self.0.lock()).unwrap_or_else(OwnerDied::into_inner)
    }
}

#[track_caller]
pub(super) fn sure<T>(loaded: Result<T, InvalidElement>) -> T {
    loaded.unwrap_or_else(|e| panic!("{e}"))
}

/// A [`Value`] whose lock this thread holds.
///
/// It is a reference to the value, too, if that lies in the memory as it is (numbers, and what derives `Plain`): `*guard
/// += 1`. From when the guard was first used as a reference until it is dropped, the value is reached through this
/// guard; this thread's other ways to read a value that was lent mutably, or to change one that was lent, panic.
#[must_use = "the lock is released when its guard is dropped"]
pub struct ValueGuard<'a, T: Element + Copy> {
    twin: RLockGuard<'a, Twin<T::Stored>>,
    loan: GuardLoan,
}

impl<'a, T: Element + Copy> ValueGuard<'a, T> {
    #[expect(clippy::type_complexity, reason = "it is what `lock` of an `RLock` returns")]
    fn of(
        result: Result<RLockGuard<'a, Twin<T::Stored>>, OwnerDied<RLockGuard<'a, Twin<T::Stored>>>>,
    ) -> Result<Self, OwnerDied<Self>> {
        let guard = |twin| Self { twin, loan: GuardLoan::default() };
        locked(result).map(guard).map_err(|died| died.map(guard))
    }

    /// The value now.
    ///
    /// # Panics
    /// If another guard has lent the value mutably, or the memory holds no `T`.
    #[track_caller]
    pub fn get(&self) -> T {
        self.loan.assert_readable(&self.twin);
        sure(T::load(self.twin.read()))
    }

    /// Changes the value.
    ///
    /// # Panics
    /// If another guard of this thread has lent a reference to it.
    #[track_caller]
    pub fn set(&mut self, value: T) {
        self.loan.assert_writable(&self.twin);
        self.twin.write(value.store());
    }

    /// Says that the value is in order again, after [`OwnerDied`].
    pub fn mark_consistent(&self) {
        self.twin.mark_consistent();
    }
}

impl<T: Element<Stored = T> + Plain + Copy> Deref for ValueGuard<'_, T> {
    type Target = T;

    #[track_caller]
    fn deref(&self) -> &T {
        self.loan.share(&self.twin);
        // SAFETY: this thread holds the lock, no guard has lent the value mutably, and until the guard is dropped the value
        // changes only through `&mut` of the guard; any bits are a `T`.
        unsafe { &*self.twin.place() }
    }
}

impl<T: Element<Stored = T> + Plain + Copy> DerefMut for ValueGuard<'_, T> {
    #[track_caller]
    fn deref_mut(&mut self) -> &mut T {
        self.loan.exclude(&self.twin);
        // SAFETY: this thread holds the lock, no other guard has lent the value, and until the guard is dropped the value is
        // read and changed only through the guard, which is borrowed exclusively; any bits are a `T`.
        unsafe { &mut *self.twin.place() }
    }
}

impl<T: Element + Copy> Drop for ValueGuard<'_, T> {
    fn drop(&mut self) {
        self.loan.end(&self.twin);
    }
}

impl<T: Element + Copy + fmt::Debug> fmt::Debug for ValueGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl<T: Element + Copy + fmt::Debug> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.try_lock() {
            Ok(Some(twin)) if twin.loans.is_readable() => match T::load(twin.read()) {
                Ok(value) => f.debug_tuple("Value").field(&value).finish(),
                Err(_) => f.write_str("Value(<invalid>)"),
            },
            _ => f.write_str("Value(<locked>)"),
        }
    }
}

macro_rules! integers {
    ($($t:ty)*) => {
        $(
            impl Value<$t> {
                /// Adds `n`, wrapping around at the type's bounds, and returns the value from before.
                #[track_caller]
                pub fn fetch_add(&self, n: $t) -> $t {
                    self.update(|value| value.wrapping_add(n)).wrapping_sub(n)
                }

                /// Subtracts `n`, wrapping around at the type's bounds, and returns the value from before.
                #[track_caller]
                pub fn fetch_sub(&self, n: $t) -> $t {
                    self.update(|value| value.wrapping_sub(n)).wrapping_add(n)
                }
            }
        )*
    };
}
integers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);
