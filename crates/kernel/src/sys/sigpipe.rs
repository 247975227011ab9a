//! Writing to a pipe without a reader, in a program that SIGPIPE would end.
//!
//! # Safety
//! Takes one pending signal from the calling thread.
#![allow(unsafe_code)]

use std::io;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};

/// Runs `write`, which writes to a pipe once. If that fails with `EPIPE`, the SIGPIPE that comes with it is taken from the
/// calling thread; one that was pending before stays.
pub fn withheld(write: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
    if was_pending() {
        return write();
    }
    let set = SigSet::from(Signal::SIGPIPE);
    let mut former = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&set), Some(&mut former))?;
    let result = write();
    if result.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::BrokenPipe) {
        let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: a set and a time that outlive the call; what is told of the signal is not asked for.
        unsafe { libc::sigtimedwait(set.as_ref(), std::ptr::null_mut(), &raw const now) };
    }
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&former), None)?;
    result
}

/// Then it is blocked, too.
fn was_pending() -> bool {
    let mut pending = SigSet::empty();
    // SAFETY: the set is writable.
    let asked = unsafe { libc::sigpending(std::ptr::from_mut(&mut pending).cast()) };
    asked == 0 && pending.contains(Signal::SIGPIPE)
}
