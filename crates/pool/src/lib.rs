//! Pools of processes and of threads that run tasks, where one crash costs one task.
//!
//! ```
//! use pool::{ProcessPool, TaskError};
//!
//! let pool = ProcessPool::new(4)?;
//! let task = pool.apply_async(|a: u64, b: u64| a * b, (6, 7));
//! assert_eq!(task.get()?, 42);
//! assert_eq!(pool.map(|n| n + 1, [1, 2, 3])?, [2, 3, 4]);
//! let crash = pool.apply(|| -> () { std::process::abort() }, ());
//! assert!(matches!(crash, Err(TaskError::WorkerDied { signal: Some(6), .. })));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # For people who know Python's multiprocessing
//!
//! | Python | here |
//! |---|---|
//! | `Pool(4, init, args, maxtasksperchild=9)` | `ProcessPool::builder().workers(4).initializer(init, args).max_tasks_per_child(9).build()?` |
//! | `multiprocessing.pool.ThreadPool(4)` | [`ThreadPool::new(4)?`](ThreadPool::new), the same methods |
//! | `p.apply(f, (1, 2))`, `apply_async`, `map`, `map_async`, `starmap`, `starmap_async`, `imap`, `imap_unordered` | the same names |
//! | `r.get(timeout=1)`, `r.wait()`, `r.ready()`, `r.successful()` | [`get_timeout`](Task::get_timeout), [`wait`](Task::wait), [`ready`](Task::ready), [`successful`](Task::successful) |
//! | `callback=`, `error_callback=` | [`apply_async_with`](ProcessPool::apply_async_with), [`Task::on_done`]: one callback gets both outcomes |
//! | `concurrent.futures`: `wait(fs, timeout, return_when)` | [`wait_tasks`] |
//! | `it.next(timeout)`, `executor.map(…, timeout=)` | [`next_timeout`](Imap::next_timeout), [`map_timeout`](ProcessPool::map_timeout) |
//! | `concurrent.futures`: `as_completed`, `future.cancel()` | [`as_completed`], [`Task::cancel`], and `task.await` |
//! | `p.close()`, `p.terminate()`, `p.join()` | the same; dropping a [`ProcessPool`] terminates it, as leaving the `with` block does |
//! | `imap(f, it, chunksize=100)`, `map(f, it, 100)` | [`imap(f, it).chunk_size(100)`](Imap::chunk_size), [`map_chunked`](ProcessPool::map_chunked); [`chunk_size`](ProcessPoolBuilder::chunk_size) of the pool; adaptive by default |
//! | pebble: `pool.schedule(f, args, timeout=1)`, `pool.map(f, it, timeout=1)` | [`pool.task(f, args).timeout(d).submit()`](ProcessPool::task), [`pool.tasks(f, it).timeout(d).imap()`](ProcessPool::tasks), with retries, memory and a name |
//! | loky, billiard: another number of workers, `max_memory_per_child` | [`resize`](ProcessPool::resize), [`recycle_above`](ProcessPoolBuilder::recycle_above) |
//! | a worker raises any exception | it returns `Result<_, `[`pool::Error`](Error)`>`, with `?` |
//! | a killed worker: `map` never returns, or the executor is broken | that task is [`TaskError::WorkerDied`], or retried; nothing else happens |
//!
//! # How it works
//!
//! A [`ProcessPool`]'s owner shares one [lane] with each worker, and nothing is shared between workers. A
//! task and its result lie in one slot of it, whose one word says whether the task was begun and whether it has ended;
//! so at a worker's death the owner knows which task was running, and that the others were not. There is no lock that a
//! dead process could hold. A thread that gives a task or waits for one moves results along; otherwise the pool's own
//! thread does it. That thread replaces workers and keeps the time, asleep in one `poll` on all of them.
//!
//! With the feature `tracing`, the pool tells of each start, death, retry and late task under the target `pool`;
//! [`ProcessPool::stats`] counts them without. With the feature `trace`, a `Trace` keeps what each worker ran and when, for
//! Perfetto and `chrome://tracing`.
//!
//! # What this is not
//!
//! No pool over several machines (that is `cluster`), no scheduler with priorities or dependencies between tasks, and no
//! place for closures with captures in other processes: pass what they need as arguments.
#![forbid(unsafe_code)]

mod bound;
mod call;
mod callbacks;
mod completed;
#[doc(hidden)]
pub mod engine;
mod error;
mod executor;
mod failure;
mod gather;
mod label;
#[cfg(feature = "inspect")]
#[doc(hidden)]
pub mod inspect {
    pub use crate::process::inspect::{BoardView, DeathView, board, function_of};
}
mod platform;
mod process;
mod remote;
mod stats;
mod stream;
mod task;
mod terms;
mod thread;
#[cfg(feature = "trace")]
mod trace;
#[cfg(feature = "trace")]
#[doc(hidden)]
pub mod trace_events {
    pub use crate::trace::{Arg, Events, Slice};
}
mod wakers;

pub use bound::Full;
pub use call::{Call, CallOnce};
#[doc(hidden)]
pub use completed::AnyTask as Waitable;
pub use completed::{
    AnyTask, AsCompleted, AsCompletedStream, Until, WaitTasks, Waited, as_completed, wait, wait_tasks, wait_tasks_async,
};
pub use error::{PoolError, TaskError};
pub use executor::Executor;
pub use failure::Error;
pub use process::{Affinity, ProcessPool, ProcessPoolBuilder};
pub use stats::{Death, Stats, WorkerStats};
pub use stream::{Imap, ImapStream, ImapUnordered, ImapUnorderedStream, TimedOut};
pub use task::{CancelOnDrop, Task};
pub use terms::{MapBuilder, TaskBuilder};
pub use thread::{Scope, ScopedTask, ThreadPool, ThreadPoolBuilder};
#[cfg(feature = "trace")]
pub use trace::Trace;
