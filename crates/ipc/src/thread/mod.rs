//! Queues between the threads of one process: the same names and methods as between processes.
//!
//! Nothing is serialised, so any `T: Send` will do. What differs from [`Queue`](crate::Queue) between processes is what
//! truth demands: making one cannot fail, and of the [errors](crate::PutError) only `Closed`, `Full`, `Empty` and
//! `TimedOut` occur.
//!
//! # Examples
//! ```
//! use ipc::thread::Queue;
//!
//! let queue = Queue::new(10);
//! let producer = std::thread::spawn({
//!     let queue = queue.clone();
//!     move || {
//!         for n in 0..100 {
//!             queue.put(n).unwrap();
//!         }
//!         queue.close();
//!     }
//! });
//! assert_eq!(queue.iter().sum::<u32>(), 4950);
//! producer.join().unwrap();
//! ```

mod builder;
mod halves;
mod item;
mod iter;
mod joinable;
mod lending;
mod many;
mod monitor;
mod ordered;
mod queue;
mod ready;
mod shelf;
mod wakers;

pub use self::{
    builder::Builder,
    halves::{Consumer, Producer},
    item::Item,
    iter::{Drain, IntoIter},
    joinable::{JoinableIter, JoinableQueue},
    ordered::{LifoIter, LifoQueue, PriorityIter, PriorityQueue},
    queue::{Iter, Queue},
    ready::Readiness,
};
