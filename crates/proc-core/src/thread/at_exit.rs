//! The process does not end before its threads.
//!
//! # Safety
//! The hook is a plain function. It runs when the destructors of the main thread's thread-local variables have run:
//! it uses none of them.
#![allow(unsafe_code)]

use std::{
    io,
    sync::{Mutex, PoisonError},
};

use super::{kernel, registry};

/// Has the end of this process, and of those forked from it, wait for threads that are no daemons.
pub(super) fn install() -> io::Result<()> {
    static INSTALLED: Mutex<bool> = Mutex::new(false);
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*installed {
        // SAFETY: a function of this program.
        let rc = unsafe { libc::atexit(join_all) };
        if rc != 0 {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        *installed = true;
    }
    Ok(())
}

extern "C" fn join_all() {
    // Another thread that calls `exit` may be one that those to be joined are waiting for.
    if kernel::is_main() {
        // Those that end may have started others meanwhile.
        while let Some(thread) = registry::non_daemon() {
            thread.wait(None);
        }
    }
}
