//! Locks and their kin, for threads and for processes: the same names and methods in both scopes.
//!
//! ```
//! use sync::process::Lock;
//!
//! let counter = Lock::new(0u64)?; // clone it, or hand it to another process: it stays the same lock
//! *counter.lock()? += 1;
//! assert_eq!(*counter.lock()?, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # For people who know Python's multiprocessing
//! `multiprocessing.Lock` is [`process::Lock`], `threading.Lock` is [`thread::Lock`]; `Condition` is `Condvar`. A lock
//! owns the data that it protects, `with lock:` is a guard, `acquire(timeout=…)` is `lock_timeout`, and what Python
//! leaves locked for ever, when a process that held it is killed, the next one is told: [`OwnerDied`].
//! The guard stays with the thread that locked; what is acquired here and released there is a `Semaphore`. A barrier's
//! action and time-out are given where one waits: `wait_timeout_with`.
//!
//! # What this is not
//! Locks between machines, or between containers that do not share their process ids. Strictly fair: a newcomer may get
//! the lock before a waiter, but a waiter claims it in the end. Proof against a hostile process: one that was given a lock
//! can write to its memory.
//!
//! # How it works
//! A lock of the process scope is a word in shared memory that the thread which holds it has in the list that the
//! kernel goes through when a thread dies. No waiter or waker leaves a count behind that its death would make wrong; the
//! kernel passes on the wake-up of a killed waiter.
#![deny(unsafe_code)]

mod machine;

mod element;
mod error;
#[cfg(test)]
mod ordering;
mod plain;
pub mod process;
mod sys;
pub mod thread;
mod time;

pub use element::{Element, InvalidElement};
pub use error::{BrokenBarrier, NotHolder, OwnerDied, TooManyReleases, WaitTimeoutResult};
pub use kernel::shm::ShmSafe;
pub use plain::Plain;
pub use shm_derive::{Element, Plain, ShmSafe};
