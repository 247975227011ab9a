//! A fence that one side pays for both: `membarrier(2)`.
//!
//! A publisher stores "ready" and then loads "is anyone asleep"; a sleeper stores "asleep" and then loads "is it
//! ready". Each needs its store to be seen before its load, which costs a fence (7 ns) on every message. Instead the
//! sleeper, who has time, makes every running thread of the registered processes go through one.
//!
//! # Safety
//! One system call that takes integers.
#![allow(unsafe_code)]

use std::sync::{
    Once,
    atomic::{
        AtomicU8,
        Ordering::{Relaxed, SeqCst},
        compiler_fence, fence,
    },
};

use proc_core::at_fork;

const UNKNOWN: u8 = 0;
const REGISTERED: u8 = 1;
const UNAVAILABLE: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Registers this process, so that its publishers need no fence of their own. Every user of a queue calls it first.
pub(crate) fn register() {
    static RESET: Once = Once::new();
    RESET.call_once(|| at_fork::on_child(|| STATE.store(UNKNOWN, Relaxed)));
    if STATE.load(Relaxed) == UNKNOWN {
        let state = if membarrier(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) { REGISTERED } else { UNAVAILABLE };
        STATE.store(state, Relaxed);
    }
}

/// Between a publication and the look at who sleeps.
#[inline]
pub(crate) fn light() {
    if STATE.load(Relaxed) == REGISTERED {
        compiler_fence(SeqCst);
    } else {
        fence(SeqCst);
    }
}

/// Between the announcement of a sleeper and its last look: every registered process passes a fence meanwhile.
pub(crate) fn heavy() {
    fence(SeqCst);
    // Where it is not available, publishers fence themselves.
    membarrier(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED);
}

fn membarrier(command: i32) -> bool {
    // SAFETY: takes three integers, and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}
