//! A constructor of a library, which the linker puts beside those of the program's other libraries.
//!
//! # Safety
//! What the loader calls before `main` adds to a number.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

static N_RUNS: AtomicU32 = AtomicU32::new(0);

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = {
    extern "C" fn count() {
        N_RUNS.fetch_add(1, Relaxed);
    }
    count
};

/// How often it has run in this process.
pub fn n_runs() -> u32 {
    N_RUNS.load(Relaxed)
}
