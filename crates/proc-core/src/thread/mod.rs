//! Threads with Python's manners: numbered names, daemons, joins with a time limit, timers.
//!
//! These are threads of `std`, with a little book-keeping: every thread has a [`Thread`] that anyone may hold, and
//! [`enumerate`] lists them. Threads started elsewhere, with `std::thread::spawn`, appear once they ask for
//! [`current`], as daemons.
//!
//! **When `main` returns**, or the main thread calls `std::process::exit`, the process first waits until the functions
//! of all threads have returned, except those of daemons. A call of `exit` on another thread waits for none.
//!
//! # Examples
//! ```
//! use std::time::Duration;
//! use proc_core::thread;
//!
//! let worker = thread::spawn(|| {
//!     assert_eq!(thread::current().name(), "Thread-1");
//!     6 * 7
//! });
//! assert!(worker.join_timeout(Duration::from_secs(10)));
//! assert_eq!(worker.join()?, 42);
//! # Ok::<(), thread::ThreadError>(())
//! ```

mod builder;
mod excepthook;
mod handle;
mod native;
mod registry;
#[cfg(test)]
mod tests;
mod timer;

#[doc(no_inline)]
pub use crate::Runnable;

pub use self::{
    builder::{Builder, Prepared, spawn, start},
    excepthook::{Uncaught, reset_excepthook, set_excepthook},
    handle::{JoinHandle, Thread, ThreadError},
    native::State,
    registry::{active_count, current, enumerate, main_thread},
    timer::Timer,
};
