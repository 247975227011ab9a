//! Records of children come out of their owner's logger.

#![allow(clippy::unwrap_used, clippy::multiple_unsafe_ops_per_block, clippy::exit, reason = "tests")]

mod cost;
mod kills;
mod logger;
mod overflow;
mod records;
mod ring;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The logger is the process's, and who has it hang keeps the others waiting: one test at a time.
struct Alone {
    _turn: MutexGuard<'static, ()>,
    _dog: test_support::Watchdog,
}

fn alone() -> Alone {
    alone_for(Duration::from_secs(120))
}

fn alone_for(limit: Duration) -> Alone {
    static ONE: Mutex<()> = Mutex::new(());
    let turn = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    logger::install();
    Alone { _turn: turn, _dog: test_support::watchdog(limit) }
}
