//! Processes that run functions, and what they share: all crates of this project under one name.
//!
//! | here | what it is | in Python |
//! |---|---|---|
//! | the root: [`Process`], [`command`], [`daemon`], [`supervisor`], … | the crate `proc-core` | `multiprocessing.Process`, `subprocess` |
//! | [`pool`]: [`ProcessPool`], [`ThreadPool`] | tasks, where one crash costs one task | `Pool`, `concurrent.futures` |
//! | [`ipc`]: [`Queue`], [`JoinableQueue`], [`pipe`], … | what travels between processes | `Queue`, `Pipe`, `Manager` |
//! | [`sync`] | locks and their kin, in two scopes with the same names | `threading.Lock`, `multiprocessing.Lock` |
//! | [`tls`] | a value per thread, per object | `threading.local` |
//!
//! ```
//! use prockit::{JoinableQueue, Process, ProcessPool};
//!
//! fn square(n: u64) -> u64 {
//!     n * n
//! }
//!
//! fn worker(jobs: JoinableQueue<u64>) {
//!     while let Ok(job) = jobs.get() {
//!         let _ = square(*job);
//!         job.task_done();
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! assert_eq!(Process::spawn(square, (7,))?.join()?, 49);
//!
//! let pool = ProcessPool::new(2)?;
//! assert_eq!(pool.map(square, 1..=3)?, [1, 4, 9]);
//!
//! let jobs = JoinableQueue::new(0)?;
//! let child = Process::builder().daemon(true).spawn(worker, (jobs.clone(),))?;
//! for n in 0..10 {
//!     jobs.put(n)?;
//! }
//! jobs.join()?;
//! jobs.close();
//! child.join()?;
//! # Ok(())
//! # }
//! ```
//!
//! Derives look for the crate that they belong to. Where that is reached through this one, tell them so:
//!
//! ```
//! use prockit::sync::Plain;
//!
//! #[derive(Clone, Copy, Plain)]
//! #[shm(crate = prockit::sync)]
//! #[repr(C)]
//! struct Point {
//!     x: f64,
//!     y: f64,
//! }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let point = prockit::sync::process::Lock::new(Point { x: 1.0, y: 2.0 })?;
//! assert_eq!(point.lock().map_err(|_| "nobody died")?.x, 1.0);
//! # Ok(())
//! # }
//! ```
//!
//! It adds nothing of its own: who wants less depends on one of the crates.

pub use ipc;
pub use pool;
pub use sync;
pub use tls;

#[doc(inline)]
pub use ipc::{Array, Connection, JoinableQueue, Manager, Queue, Receiver, Sender, Value, channel, pipe};
#[doc(inline)]
pub use pool::{ProcessPool, Task, TaskError, ThreadPool};
#[doc(inline)]
pub use proc_core::*;
