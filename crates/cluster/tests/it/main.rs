//! What a cluster promises, from the outside. Without a server's program, the tests say so and pass.
#![allow(clippy::unwrap_used, clippy::exit, reason = "tests, and workers that end in every way")]

mod agents;
mod batches;
mod example;
mod faults;
mod jobs;
mod local;
mod partitions;
mod registered;
mod server;
mod servers;
mod support;
mod taken_back;
mod trio;
