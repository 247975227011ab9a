//! What the state machines of a lane are built on. The models (`crates/models`) compile the same source with a module of
//! their own in this one's place, so that loom runs the code that ships.

pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, fence};

pub(crate) use kernel::futex;
