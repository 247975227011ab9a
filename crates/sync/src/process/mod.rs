//! For processes: what lies in shared memory, and survives `kill -9` of anybody who uses it.

mod barrier;
mod condvar;
mod event;
mod handle;
mod holder;
mod lock;
mod raw;
mod rlock;
mod rwlock;
mod semaphore;
mod tenure;

pub use barrier::Barrier;
pub use condvar::{Condvar, WaitGuard};
pub use event::Event;
pub use holder::Holder;
pub use lock::{InlineLock, Lock, LockGuard, Locked, MappedLockGuard};
pub use rlock::{RLock, RLockGuard};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{BoundedSemaphore, Permit, Semaphore};
