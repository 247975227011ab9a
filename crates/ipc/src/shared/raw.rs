//! Values and arrays that processes share without a lock: each element is one atomic word.
//!
//! # Safety
//! The elements lie in memory that holds `len` of them (checked when a handle is made), suitably aligned (pages are); they
//! are atomics, for which any bits are valid, and which may change at any time.
#![allow(unsafe_code)]

use std::{
    fmt, io,
    marker::PhantomData,
    ptr::NonNull,
    sync::atomic::{
        AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize,
        Ordering,
    },
};

use kernel::{
    handover,
    shm::{SharedMemory, ShmSafe},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sync::{Element, InvalidElement, Plain};

use super::value::sure;

/// What an element is stored as that can be read and written without a lock: a number of up to eight bytes.
///
/// Those of numbers, of `bool`, `char`, and of enums that derive [`Element`](derive@crate::Element) are.
#[diagnostic::on_unimplemented(
    message = "an element that is stored as `{Self}` cannot be shared without a lock",
    label = "larger than one atomic word",
    note = "numbers of up to eight bytes, `bool`, `char` and enums without fields can; `ipc::Value` and `ipc::Array` hold others"
)]
pub trait Lockless: Plain + Copy + sealed::Sealed {
    /// Its atomic.
    type Atomic: ShmSafe + fmt::Debug;

    #[doc(hidden)]
    fn atomic(self) -> Self::Atomic;
    #[doc(hidden)]
    fn load(atomic: &Self::Atomic) -> Self;
    #[doc(hidden)]
    fn store(self, atomic: &Self::Atomic);
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! lockless {
    ($($t:ty, $atomic:ty, $to:expr, $from:expr;)*) => {
        $(
            impl sealed::Sealed for $t {}

            impl Lockless for $t {
                type Atomic = $atomic;

                fn atomic(self) -> $atomic {
                    <$atomic>::new($to(self))
                }

                fn load(atomic: &$atomic) -> Self {
                    // Acquire: a thread that sees the store sees what was done before it.
                    $from(atomic.load(Ordering::Acquire))
                }

                fn store(self, atomic: &$atomic) {
                    // Release: as above.
                    atomic.store($to(self), Ordering::Release);
                }
            }
        )*
    };
}
fn same<T>(value: T) -> T {
    value
}
lockless! {
    u8, AtomicU8, same, same;
    u16, AtomicU16, same, same;
    u32, AtomicU32, same, same;
    u64, AtomicU64, same, same;
    usize, AtomicUsize, same, same;
    i8, AtomicI8, same, same;
    i16, AtomicI16, same, same;
    i32, AtomicI32, same, same;
    i64, AtomicI64, same, same;
    isize, AtomicIsize, same, same;
    f32, AtomicU32, f32::to_bits, f32::from_bits;
    f64, AtomicU64, f64::to_bits, f64::from_bits;
}

type Atomic<T> = <<T as Element>::Stored as Lockless>::Atomic;

/// A value of up to eight bytes in shared memory, without a lock: reading and writing it takes some nanoseconds, and
/// no thread waits.
///
/// Each `get` and `set` happens whole; what is done in several steps is not protected (use
/// [`as_atomic`](Self::as_atomic), or [`Value`](crate::Value)). A process that sees a value that was set also sees what had
/// been done before that. Clones and handed-over copies are the same value. Takes one descriptor and one page.
///
/// # Crash safety
/// A `set` happens or does not.
///
/// # Examples
/// ```
/// use std::sync::atomic::Ordering::Relaxed;
/// use ipc::RawValue;
///
/// let done = RawValue::new(false)?;
/// done.clone().set(true);
/// assert!(done.get());
///
/// let hits = RawValue::new(0_u64)?;
/// hits.as_atomic().fetch_add(1, Relaxed);
/// assert_eq!(hits.get(), 1);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Deserialize)]
#[serde(bound = "", transparent)]
pub struct RawValue<T: Element<Stored: Lockless>>(kernel::shm::Shared<Atomic<T>>);

kernel::serialize_as_inner!(RawValue<T> where T: [Element<Stored: Lockless>]);

impl<T: Element<Stored: Lockless>> RawValue<T> {
    /// Makes a value.
    ///
    /// # Errors
    /// As [`SharedMemory::new`].
    pub fn new(value: T) -> io::Result<Self> {
        kernel::shm::Shared::new(value.store().atomic()).map(Self)
    }

    /// The value now.
    ///
    /// # Panics
    /// If the memory holds no `T`, which happens only if a program has overwritten it.
    #[track_caller]
    pub fn get(&self) -> T {
        sure(self.try_get())
    }

    /// The value now, unless the memory holds something that is none.
    ///
    /// # Errors
    /// [`InvalidElement`] if some program has overwritten the memory with what is no `T`.
    pub fn try_get(&self) -> Result<T, InvalidElement> {
        T::load(T::Stored::load(&self.0))
    }

    /// Changes the value.
    pub fn set(&self, value: T) {
        value.store().store(&self.0);
    }

    /// The atomic that holds the value, of a float the bits: for `fetch_add`, `compare_exchange` and the like.
    pub fn as_atomic(&self) -> &Atomic<T> {
        &self.0
    }
}

impl<T: Element<Stored: Lockless>> Clone for RawValue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Element<Stored: Lockless> + fmt::Debug> fmt::Debug for RawValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RawValue").field(&self.try_get()).finish()
    }
}

/// Values of up to eight bytes each in shared memory, without a lock.
///
/// What is said of [`RawValue`] holds for each element: it changes whole, and by itself. Clones and handed-over copies are
/// the same array. Takes one descriptor.
///
/// # Crash safety
/// A `set` happens or does not; of several, some may have happened.
///
/// # Examples
/// ```
/// use ipc::RawArray;
///
/// let seen = RawArray::<bool>::new(1000)?;
/// seen.clone().set(7, true);
/// assert_eq!(seen.iter().filter(|seen| *seen).count(), 1);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct RawArray<T: Element<Stored: Lockless>> {
    memory: SharedMemory,
    len: usize,
    elements: PhantomData<T>,
}

impl<T: Element<Stored: Lockless>> RawArray<T> {
    /// Makes an array of `len` elements whose bytes are all zero: 0, `false`, `'\0'`, an enum's first variant.
    ///
    /// # Errors
    /// As [`SharedMemory::new`]; `ENOMEM` also for a length beyond what memory can be.
    pub fn new(len: usize) -> io::Result<Self> {
        let bytes = size_of::<Atomic<T>>().checked_mul(len).ok_or(nix::errno::Errno::ENOMEM)?;
        Ok(Self { memory: SharedMemory::new(bytes.max(1))?, len, elements: PhantomData })
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
    /// If there is no such element; if the memory holds no `T`, which happens only if a program has overwritten it.
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
        T::load(T::Stored::load(&self.as_atomics()[i]))
    }

    /// Changes the element at `i`.
    ///
    /// # Panics
    /// If there is no such element.
    #[track_caller]
    pub fn set(&self, i: usize, value: T) {
        value.store().store(&self.as_atomics()[i]);
    }

    /// The elements, one by one, each as it is when its turn comes.
    ///
    /// # Panics
    /// While iterating, as [`get`](Self::get).
    pub fn iter(&self) -> impl ExactSizeIterator<Item = T> + DoubleEndedIterator + '_ {
        (0..self.len).map(|i| self.get(i))
    }

    /// The atomics that hold the elements, of floats the bits: a view without a copy, which others may change meanwhile.
    pub fn as_atomics(&self) -> &[Atomic<T>] {
        // SAFETY: the memory holds `len` of them, any bits are some, and it lives as long as `self`.
        unsafe { NonNull::slice_from_raw_parts(self.memory.as_ptr().cast(), self.len).as_ref() }
    }
}

impl<T: Element<Stored: Lockless>> Clone for RawArray<T> {
    fn clone(&self) -> Self {
        Self { memory: self.memory.clone(), len: self.len, elements: PhantomData }
    }
}

impl<T: Element<Stored: Lockless>> fmt::Debug for RawArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawArray").field("len", &self.len).finish_non_exhaustive()
    }
}

impl<T: Element<Stored: Lockless>> Serialize for RawArray<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        handover::check_sending::<Self, S>()?;
        (&self.memory, self.len).serialize(serializer)
    }
}

impl<'de, T: Element<Stored: Lockless>> Deserialize<'de> for RawArray<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (memory, len): (SharedMemory, usize) = Deserialize::deserialize(deserializer)?;
        if size_of::<Atomic<T>>().checked_mul(len).is_none_or(|bytes| bytes > memory.len()) {
            return Err(de::Error::custom("shared memory is too short for its array"));
        }
        Ok(Self { memory, len, elements: PhantomData })
    }
}
