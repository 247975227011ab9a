//! Tests of the crate as its users see it.

mod queue;
mod thread_queue;
