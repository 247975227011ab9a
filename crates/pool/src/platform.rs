//! What the state machines of a pool are built on. The models (`crates/models`) compile the same source with a module of
//! their own in this one's place, so that loom runs the code that ships.

pub(crate) use std::{
    sync::atomic::{AtomicUsize, fence},
    thread::{Thread, current, park},
};

pub(crate) use crossbeam_deque::{Injector, Steal};
pub(crate) use crossbeam_utils::CachePadded;
pub(crate) use parking_lot::{Mutex, MutexGuard};
