//! Pools of processes and of threads that run tasks, where one crash costs one task.
//!
//! ```
//! let pool = pool::ThreadPool::new(4)?;
//! let task = pool.apply_async(|a: u64, b: u64| a * b, (6, 7));
//! assert_eq!(task.get()?, 42);
//! assert_eq!(pool.map(|n| n + 1, [1, 2, 3])?, [2, 3, 4]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod call;
mod completed;
mod error;
mod gather;
mod process;
mod stats;
mod stream;
mod task;
mod thread;

pub use call::{Call, CallOnce};
pub use completed::{AsCompleted, Until, Waitable, as_completed, wait};
pub use error::{PoolError, TaskError};
pub use process::{ProcessPool, ProcessPoolBuilder};
pub use stats::{Death, Stats, WorkerStats};
pub use stream::{Imap, ImapUnordered};
pub use task::Task;
pub use thread::{Scope, ScopedTask, ThreadPool, ThreadPoolBuilder};
