//! For the threads of one process: the same names and methods as in [`process`](crate::process), on `parking_lot`.
//!
//! What differs is what is true: `new` cannot fail, locks hold any `T` and do not report a dead holder, and a lock is
//! shared by reference or `Arc` rather than by cloned handles. A panic does not poison a lock: its data are as the
//! panic left them.
//!
//! # lock_api
//! [`RawLock`] and [`RawRwLock`] are the bare locks under [`Lock`] and [`RwLock`], with all traits of `lock_api` that
//! there are for them, for data structures that are generic over their locks. (What speaks against that in the other
//! scope is said [there](crate::process#lock_api).)
//! ```
//! use sync::thread::{LockGuard, RawLock};
//!
//! let counter = lock_api::Mutex::<RawLock, u64>::new(0);
//! let mut guard: LockGuard<'_, u64> = counter.lock(); // good for waiting with a `Condvar`, too
//! *guard += 1;
//! ```
//!
//! # Forks
//! A forked child has copies of its own, as they were at that moment: what the thread that forked held, the child's one
//! thread holds; what other threads held stays locked there for ever, as those threads do not exist in it. Between
//! processes use [`process`](crate::process).

mod barrier;
mod condvar;
mod event;
mod lock;
mod rlock;
mod rwlock;
mod semaphore;

pub use barrier::Barrier;
pub use condvar::{Condvar, Lend, WaitGuard};
pub use event::Event;
pub use lock::{Lock, LockGuard, MappedLockGuard, RawLock};
pub use rlock::{MappedRLockGuard, RLock, RLockGuard};
pub use rwlock::{
    MappedRwLockReadGuard, MappedRwLockWriteGuard, RawRwLock, RwLock, RwLockReadGuard, RwLockUpgradableReadGuard,
    RwLockWriteGuard,
};
pub use semaphore::{BoundedSemaphore, Permit, Semaphore};
