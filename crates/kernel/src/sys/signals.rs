//! Signal masks, and what is done about signals.
//!
//! # Safety
//! One question to the kernel, which writes its answer to memory of ours, and a handler that does nothing.
#![allow(unsafe_code)]

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask, sigaction};

/// Puts the calling thread's former mask back when dropped.
#[derive(Debug)]
#[must_use]
pub struct Blocked {
    former: SigSet,
}

/// Blocks every signal that can be blocked, for the calling thread.
pub fn block_all() -> Blocked {
    let mut former = SigSet::empty();
    let result = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut former));
    debug_assert!(result.is_ok());
    Blocked { former }
}

/// Unblocks every signal, for the calling thread.
pub fn unblock_all() {
    let result = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
    debug_assert!(result.is_ok());
}

impl Drop for Blocked {
    fn drop(&mut self) {
        let result = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.former), None);
        debug_assert!(result.is_ok());
    }
}

/// Whether the kernel reaps this process's children itself, since it does not care for them: a child that ends is gone, and
/// its pid may be another's at once.
pub fn children_are_ignored() -> bool {
    // SAFETY: a sigaction is plain data.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: only asks; `action` is writable.
    let asked = unsafe { libc::sigaction(libc::SIGCHLD, std::ptr::null(), &raw mut action) };
    asked == 0 && (action.sa_sigaction == libc::SIG_IGN || action.sa_flags & libc::SA_NOCLDWAIT != 0)
}

/// Has the calling process go on as if nothing had happened when it gets this signal. Programs that it executes do not
/// inherit that, as they would if the signal were ignored.
pub fn disregard(signal: Signal) -> nix::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(signal, &action) }.map(drop)
}
