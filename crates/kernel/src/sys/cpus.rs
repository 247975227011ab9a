//! How many CPUs there are, and how many the calling process may use.
//!
//! # Safety
//! One call that asks for a number.
#![allow(unsafe_code)]

use std::{
    num::NonZero,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use super::open_file;

/// As it was when it was last found out; 0 before.
static LAST: AtomicUsize = AtomicUsize::new(0);

/// What its affinity mask and its control group's quota allow, at least 1. In a process that has given up opening files, in
/// which the quota is found, what was allowed before.
pub fn available() -> usize {
    if open_file::is_given_up() {
        // Relaxed: a number by itself.
        return LAST.load(Relaxed).max(1);
    }
    let available = std::thread::available_parallelism().map_or(1, NonZero::get);
    LAST.store(available, Relaxed);
    available
}

/// Whether the machine has several. Those that a thread may run on are another matter: the peer that it waits for may be
/// bound to another one. Looked up once a process, in a file.
#[inline]
pub fn are_several() -> bool {
    static SEVERAL: OnceLock<bool> = OnceLock::new();
    // SAFETY: asks for a number.
    *SEVERAL.get_or_init(|| unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) } > 1)
}
