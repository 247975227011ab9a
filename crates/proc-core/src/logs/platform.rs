//! What the state machine of a doorbell is built on. The models (`crates/models`) compile the same source with a module of
//! their own in this one's place, so that loom runs the code that ships.

pub(super) use std::sync::atomic::{AtomicU32, fence};

pub(super) use kernel::futex;
