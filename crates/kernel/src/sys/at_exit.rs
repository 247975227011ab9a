//! What runs when the process ends in an orderly way: `main` returns, or the program calls `exit`.
//!
//! # Safety
//! The C library is given a plain function that lives as long as the program.
#![allow(unsafe_code)]

use std::sync::{Mutex, Once, PoisonError};

static HOOKS: Mutex<Vec<fn()>> = Mutex::new(Vec::new());

/// Calls `hook` at exit, on the thread that exits; the last one registered first. Thread-locals with a destructor are gone
/// by then.
pub fn register(hook: fn()) {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        // SAFETY: `run` is a function of this program, and does not unwind.
        let registered = unsafe { libc::atexit(run) };
        debug_assert_eq!(registered, 0);
    });
    HOOKS.lock().unwrap_or_else(PoisonError::into_inner).push(hook);
}

/// Runs what was registered.
pub extern "C" fn run() {
    let hooks = std::mem::take(&mut *HOOKS.lock().unwrap_or_else(PoisonError::into_inner));
    hooks.into_iter().rev().for_each(|hook| hook());
}

/// Flushes the buffers of C's streams.
pub fn flush_streams() {
    // SAFETY: null means all streams.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

/// Ends this process at once, but for the buffers of C's streams, which are flushed.
pub fn end_now(code: i32) -> ! {
    flush_streams();
    // SAFETY: ends this process.
    unsafe { libc::syscall(libc::SYS_exit_group, code) };
    // SAFETY: as above.
    unsafe { libc::_exit(code) }
}
