//! Locks and their kin, for threads and for processes: the same names and methods in both scopes.
#![deny(unsafe_code)]

#[cfg_attr(all(test, loom), allow(dead_code, unused_imports, reason = "the rest is not compiled with loom"))]
mod machine;

#[cfg(not(all(test, loom)))]
mod error;
#[cfg(not(all(test, loom)))]
mod plain;
#[cfg(not(all(test, loom)))]
pub mod process;
#[cfg(not(all(test, loom)))]
mod sys;
#[cfg(not(all(test, loom)))]
pub mod thread;

#[cfg(not(all(test, loom)))]
pub use error::{BrokenBarrier, NotHolder, OwnerDied, TooManyReleases, WaitTimeoutResult};
#[cfg(not(all(test, loom)))]
pub use plain::Plain;
