//! What a process is to all queues and pipes: how many forks it is away from its image, and whether a pipe's publishers may
//! leave out the fence that sleepers pay for with `membarrier(2)`.
//!
//! A publisher stores "ready" and then loads "is anyone asleep"; a sleeper stores "asleep" and then loads "is it
//! ready". Each needs its store to be seen before its load, which costs a fence (7 ns) on every message. Instead the
//! sleeper, which has time, makes every running thread of the registered processes go through one.

use std::sync::{
    Once, OnceLock,
    atomic::{
        AtomicU8, AtomicU32,
        Ordering::{Relaxed, SeqCst},
        compiler_fence, fence,
    },
};

use kernel::{at_fork, sys::membarrier};

const UNKNOWN: u8 = 0;
const REGISTERED: u8 = 1;
const UNAVAILABLE: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);
static FORKS: AtomicU32 = AtomicU32::new(0);

/// Another number in a forked child than in its parent.
#[inline]
pub(crate) fn forks() -> u32 {
    FORKS.load(Relaxed)
}

/// Makes [`forks`] count from now on. Every user of a queue or pipe calls it first.
pub(crate) fn watch_forks() {
    static RESET: Once = Once::new();
    RESET.call_once(|| at_fork::on_child(in_child));
}

/// Registers this process, so that its publishers need no fence of their own; false if they do. Every user of a pipe calls
/// it first.
pub(crate) fn register() -> bool {
    watch_forks();
    if STATE.load(Relaxed) == UNKNOWN {
        let state = if membarrier::register_among_processes() { REGISTERED } else { UNAVAILABLE };
        STATE.store(state, Relaxed);
    }
    STATE.load(Relaxed) == REGISTERED
}

fn in_child() {
    STATE.store(UNKNOWN, Relaxed);
    FORKS.fetch_add(1, Relaxed);
}

/// Between a publication and the look for sleepers.
#[inline]
pub(crate) fn light() {
    if STATE.load(Relaxed) == REGISTERED {
        compiler_fence(SeqCst);
    } else {
        fence(SeqCst);
    }
}

/// Between a compare-and-swap that publishes something and the look for sleepers, and the same for sleepers: on x86-64 the
/// swap itself is the fence.
#[inline(always)]
pub(crate) fn after_swap() {
    if cfg!(target_arch = "x86_64") {
        compiler_fence(SeqCst);
    } else {
        fence(SeqCst);
    }
}

/// Between the announcement of a sleeper and its last look: every registered process passes a fence meanwhile.
///
/// Where it is not available, publishers fence themselves; but false if this process alone has to do without.
#[must_use = "without it there is no fence"]
pub(crate) fn heavy() -> bool {
    fence(SeqCst);
    membarrier::in_all_processes()
}

/// Registers this process for [`among_threads`]; false if it is not available.
pub(crate) fn register_threads() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(membarrier::register_this_process)
}

/// Makes every thread of this process that runs pass a full fence; false if the kernel refuses.
#[must_use = "without it there is no fence"]
pub(crate) fn among_threads() -> bool {
    fence(SeqCst);
    // The second try is that of a forked child which has not inherited its parent's registration.
    membarrier::in_this_process() || membarrier::register_this_process() && membarrier::in_this_process()
}
