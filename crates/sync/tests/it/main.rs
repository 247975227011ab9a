//! What the public types promise, with processes that are killed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod util;

mod confined;
mod conformance;
mod fork;
mod process_awaiting;
mod process_barrier;
mod process_condvar;
mod process_event;
mod process_lock;
mod process_namespaces;
mod process_rlock;
mod process_rwlock;
mod process_semaphore;
mod signals;
mod storm;
mod ticket_office;
