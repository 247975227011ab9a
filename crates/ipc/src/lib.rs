//! Queues, pipes and shared data between processes, which outlive any of their users.
//!
//! ```
//! use ipc::Queue;
//! use proc_core::Process;
//!
//! fn greet(queue: Queue<String>) {
//!     queue.put("from a child".into()).expect("nobody closes it");
//! }
//!
//! let queue = Queue::new(10)?;
//! let child = Process::spawn(greet, (queue.clone(),))?;
//! assert_eq!(queue.get()?, "from a child");
//! child.join()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Any process may be killed at any instruction: none of these ever hangs another, loses what was acknowledged, or
//! leaves anything behind. Each type says under *Crash safety* what that means for it.
//!
//! # For people who know Python's multiprocessing
//!
//! | Python | here |
//! |---|---|
//! | `Queue`, `SimpleQueue` | [`Queue`]; no feeder thread: `put` has put when it returns, and `join`ing a process that put much does not deadlock |
//! | `put_nowait`, `put(timeout=)`, `queue.Full` | [`try_put`](Queue::try_put), [`put_timeout`](Queue::put_timeout), `Err(Full(value))` |
//! | `JoinableQueue`, `task_done()` | [`JoinableQueue`]; `task_done` is the item's, and a dead consumer's items are delivered again |
//! | `Queue.close()`, `join_thread()`, `cancel_join_thread()` | dropping the handle: nothing is buffered in the process. Consumers end with the last [`Producer`](queue::Producer) of a queue that was [`split`](Queue::split) |
//! | `Queue.shutdown(immediate)` of `queue` | [`close`](Queue::close), [`shutdown`](Queue::shutdown): the end for *all* users |
//! | `Pipe`, `Listener`, `Client` | [`pipe()`], [`channel()`], [`Listener`], [`Client`] |
//! | `Value`, `Array`, `with v.get_lock():` | [`Value`], [`Array`], [`lock`](Value::lock): its holder goes on using the value |
//! | `RawValue`, `RawArray` | [`RawValue`], [`RawArray`]: atomics |
//! | `numpy.frombuffer(array.get_obj())` | [`lock`](Array::lock) is a slice, and with the feature `ndarray` a matrix; [`Rows`] for several processes at once |
//! | `Manager` | [`Manager`] |
//! | `queue.Queue`, `LifoQueue`, `PriorityQueue` | [`thread`] |
//!
//! # What this is not
//!
//! Not for several machines, and not for processes of different users or builds: what is in a queue is read by the
//! program that wrote it. Values are copied (see [`Queue::loan`] for bytes, and [`Queue::loan_value`] for structs of numbers, that are not).
#![deny(unsafe_code)]

mod barrier;
mod error;
#[cfg(feature = "inspect")]
#[doc(hidden)]
pub mod inspect;
mod iter;
pub mod joinable;
mod listener;
pub mod manager;
mod pipe;
mod platform;
pub mod queue;
mod shared;
mod spin;
mod sys;
pub mod thread;
mod time;
mod unwind;

pub use self::error::{GetError, GetTimeoutError, PutError, PutTimeoutError, TryGetError, TryPutError};
pub use self::listener::{Address, Client, Listener, Peers};
#[doc(inline)]
pub use self::manager::{Counter, Dict, List, Manager, ManagerError, Namespace, Proxy};
pub use self::pipe::{
    Connection, Receiver, RecvError, RecvFuture, RecvIntoIter, RecvIter, RecvTimeoutError, SendError, SendFuture,
    SendTimeoutError, Sender, StreamReader, StreamWriter, TryRecvError, TrySendError, channel, pipe,
};
pub use self::shared::{
    Array, ArrayGuard, Lockless, RawArray, RawValue, Row, RowGuard, Rows, RowsGuard, Value, ValueGuard,
};
#[doc(inline)]
pub use self::{joinable::JoinableQueue, queue::Queue};
#[doc(no_inline)]
pub use sync::{Element, InvalidElement, Plain};
