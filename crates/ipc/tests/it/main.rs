//! Tests of the crate as its users see it.
#![allow(clippy::unwrap_used)]

mod blind;
mod elements;
mod end_of_file;
mod flood;
mod garbage;
mod handles;
mod joinable;
mod limits;
mod listener;
mod longest;
mod manager;
mod pipe;
mod pipe_shared;
mod queue;
mod queue_exact;
mod queue_limits;
mod shutdown;
mod storm;
mod thread_queue;
mod value;
