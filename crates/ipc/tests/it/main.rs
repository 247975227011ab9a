//! Tests of the crate as its users see it.
#![allow(clippy::unwrap_used)]

mod garbage;
mod joinable;
mod limits;
mod listener;
mod manager;
mod pipe;
mod pipe_shared;
mod queue;
mod queue_limits;
mod thread_queue;
mod value;
