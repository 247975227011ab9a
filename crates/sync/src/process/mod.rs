//! For processes: what lies in shared memory, and survives `kill -9` of any process that uses it.
//!
//! # Where it runs
//! On Linux with the GNU C library, whose list of what a thread holds the locks are entered in. If the library keeps
//! that list in another way than is known here, `new` says so with `Unsupported`, as does the arrival of a handle that
//! was handed over; no lock is acquired that would not be released at its holder's death.
//! There is no second kind of lock for that case: hardly any test would reach it.
//!
//! # In async functions
//! [`Lock::lock_async`], [`Semaphore::acquire_async`] and [`Event::wait_async`] wait without blocking a thread of the runtime.
//! Where a dropped future would have to take something back, there is none: a [`Barrier`] that one party leaves is broken
//! for the others, and a notification of a [`Condvar`] that had reached a dropped future would be lost. For the threads of
//! one process the runtime has its own.
//!
//! # lock_api
//! `lock_api`'s traits are implemented for the [threads' locks](crate::thread#lock_api) only. Here they could not tell the
//! truth: their `lock` returns nothing, so it could only keep quiet about a dead holder, or panic in code that does not
//! expect it; their guards may be forgotten or sent to other threads, where a lock here is listed with its thread and its
//! place in memory; and their `INIT` would be a lock in memory that no other process sees.

mod awaiting;
mod barrier;
mod condvar;
mod event;
mod handle;
mod holder;
#[cfg(feature = "inspect")]
#[doc(hidden)]
pub mod inspect;
mod lock;
mod locks;
mod raw;
mod rlock;
mod rwlock;
mod semaphore;
mod tenure;

pub use awaiting::{Acquiring, Locking, Waiting};
pub use barrier::Barrier;
pub use condvar::{Condvar, Lend, WaitGuard};
pub use event::Event;
pub use holder::Holder;
pub use lock::{InlineLock, Lock, LockGuard, Locked, MappedLockGuard};
pub use locks::Locks;
pub use rlock::{MappedRLockGuard, RLock, RLockGuard};
pub use rwlock::{MappedRwLockReadGuard, MappedRwLockWriteGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{BoundedSemaphore, Permit, Semaphore};
