//! The two halves of "is anybody asleep?": nearly free for whoever publishes, a system call for whoever goes to sleep.
//!
//! A publisher stores its data and then looks whether its peer sleeps; a sleeper says that it sleeps and then looks for
//! data. Both need a full fence between store and look, or each may miss the other. [`publish`] is that fence for the
//! side that comes by on every message, and costs nothing where the kernel offers `membarrier`: then [`sleep`] runs the
//! publisher's fence for it, on whatever processor it is.
//!
//! # Safety
//! `membarrier` takes integers only.
#![allow(unsafe_code)]

use std::sync::atomic::{
    AtomicU32, Ordering,
    Ordering::{Relaxed, SeqCst},
    compiler_fence, fence,
};

use proc_core::at_fork;

/// What became of the registration in this process; 0 before it.
static STATE: AtomicU32 = AtomicU32::new(0);
const ASKED: u32 = 1;
const BETWEEN_PROCESSES: u32 = 2;
const BETWEEN_THREADS: u32 = 4;

/// How many forks lie behind this process since its ancestor's first [`prepare`].
static FORKS: AtomicU32 = AtomicU32::new(0);

const GLOBAL: i32 = libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED;
const PRIVATE: i32 = libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED;

/// Registers this process with the kernel, once. To be called before the first [`publish`] on some memory.
pub(super) fn prepare() {
    static INSTALL: std::sync::Once = std::sync::Once::new();
    INSTALL.call_once(|| {
        at_fork::on_child(|| {
            STATE.store(0, Relaxed);
            FORKS.fetch_add(1, Relaxed);
        });
    });
    if STATE.load(Relaxed) != 0 {
        return;
    }
    let mut state = ASKED;
    if membarrier(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) {
        state |= BETWEEN_PROCESSES;
    }
    if membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) {
        state |= BETWEEN_THREADS;
    }
    STATE.store(state, Relaxed);
}

/// A number that is another one in a forked child.
#[inline]
pub(super) fn forks() -> u32 {
    FORKS.load(Relaxed)
}

/// Whether other threads of this process can be made to run a fence with [`among_threads`].
pub(super) fn has_private() -> bool {
    STATE.load(Relaxed) & BETWEEN_THREADS != 0
}

/// Stands between "store the data" and "does the peer sleep?".
#[inline]
pub(super) fn publish() {
    if STATE.load(Relaxed) & BETWEEN_PROCESSES != 0 { compiler_fence(SeqCst) } else { fence(SeqCst) }
}

/// Stands between "I sleep" and "is there data?". False if the peer's half cannot be relied on, so that the sleep must
/// be a short one.
pub(super) fn sleep() -> bool {
    fence(SeqCst);
    membarrier(GLOBAL)
}

/// Makes every other thread of this process run a full fence.
pub(super) fn among_threads() -> bool {
    fence(Ordering::SeqCst);
    membarrier(PRIVATE)
}

fn membarrier(command: i32) -> bool {
    // SAFETY: integers in, integer out.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}
