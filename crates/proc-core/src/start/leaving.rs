//! Processes of ours that are to end, and have not yet.
//!
//! A kill may be refused (the process has rights that we have given up), or take its time (it is frozen, or in the hands of a
//! device). Nobody waits for that for longer than a moment; what is still there is reaped when it has ended.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Mutex,
    time::Duration,
};

use crate::lock::lock;
use kernel::{
    fork_local::ForkLocal,
    futex::Deadline,
    sys::{pidfd, reap},
};

/// Long for a process that has been killed, short for whoever waits for a start.
const MOMENT: Duration = Duration::from_secs(1);

static LEAVING: ForkLocal<Mutex<Vec<OwnedFd>>> = ForkLocal::new();

/// Reaps it, now if it ends within a moment and was not refused to be killed; else some time later.
pub(crate) fn see_off(pidfd: OwnedFd, is_killed: bool) {
    let deadline = Deadline::after(if is_killed { MOMENT } else { Duration::ZERO });
    match pidfd::wait_exit(pidfd.as_fd(), deadline) {
        // Fails if another part of the program has reaped it.
        Ok(true) => drop(reap::now(pidfd.as_fd())),
        _ => lock(LEAVING.get()).push(pidfd),
    }
}

/// Reaps those that have ended meanwhile.
pub(crate) fn reap() {
    lock(LEAVING.get()).retain(|pidfd| matches!(reap::now(pidfd.as_fd()), Ok(None)));
}
