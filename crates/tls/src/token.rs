//! A thread's identity, for good: unlike thread ids and pthread handles, tokens are never given out twice.

use std::{
    cell::Cell,
    sync::{
        Once,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

thread_local! {
    // Constant and without a destructor: reading it is one instruction, and works while the thread is being torn down.
    static TOKEN: Cell<u64> = const { Cell::new(NONE) };
}

/// The token of a thread that has not asked for one; never the token of a value.
pub(crate) const NONE: u64 = 0;

static NEXT: AtomicU64 = AtomicU64::new(1);
/// Tokens below were given out before the fork that this process came from.
static FLOOR: AtomicU64 = AtomicU64::new(0);

/// The calling thread's token, if it has one yet.
#[inline]
pub(crate) fn current() -> u64 {
    TOKEN.get()
}

/// The calling thread's token.
pub(crate) fn get() -> u64 {
    if TOKEN.get() == NONE {
        static AT_FORK: Once = Once::new();
        AT_FORK.call_once(|| kernel::at_fork::on_child(forget_all));
        TOKEN.set(NEXT.fetch_add(1, Relaxed));
    }
    TOKEN.get()
}

/// Whether `token` belongs to a thread, running or ended, of this process and not of the one it was forked from.
pub(crate) fn is_of_this_process(token: u64) -> bool {
    token >= FLOOR.load(Relaxed)
}

fn forget_all() {
    FLOOR.store(NEXT.load(Relaxed), Relaxed);
    TOKEN.set(NONE);
}
