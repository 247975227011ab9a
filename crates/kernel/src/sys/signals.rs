//! Signal masks, and what is done about signals.
//!
//! # Safety
//! Masks, and a question to the kernel, which writes its answers to memory of ours; and a handler that does nothing.
#![allow(unsafe_code)]

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Which signals a thread has blocked.
#[derive(Clone, Copy, Debug)]
pub struct Mask(u64);

impl Mask {
    /// Makes it that of the calling thread.
    #[inline]
    pub fn set(self) {
        set_mask(self.0);
    }
}

/// Puts the calling thread's former mask back when dropped.
#[derive(Debug)]
#[must_use]
pub struct Blocked {
    former: Mask,
}

impl Blocked {
    /// What the calling thread had blocked before.
    pub fn former(&self) -> Mask {
        self.former
    }
}

/// Blocks every signal that can be blocked, for the calling thread.
#[inline]
pub fn block_all() -> Blocked {
    Blocked { former: Mask(set_mask(!OF_THE_C_LIBRARY)) }
}

/// Unblocks every signal, for the calling thread.
#[inline]
pub fn unblock_all() {
    set_mask(0);
}

impl Drop for Blocked {
    fn drop(&mut self) {
        self.former.set();
    }
}

/// Those by which the C library cancels threads, and changes the user of all of them: numbers 32 and 33.
const OF_THE_C_LIBRARY: u64 = 0b11 << 31;

/// Sets the calling thread's mask, and returns the former one.
#[inline]
fn set_mask(mask: u64) -> u64 {
    let mut former = 0_u64;
    // SAFETY: two sets of the kernel's size, which is said.
    let rc = unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, &raw mut former, size_of::<u64>())
    };
    debug_assert_eq!(rc, 0);
    former
}

/// Whether the kernel reaps this process's children itself (SIGCHLD is ignored, or `SA_NOCLDWAIT` is set): a child that ends
/// is gone, and its pid may be another's at once.
pub fn children_are_ignored() -> bool {
    // SAFETY: a sigaction is plain data.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: only asks; `action` is writable.
    let asked = unsafe { libc::sigaction(libc::SIGCHLD, std::ptr::null(), &raw mut action) };
    asked == 0 && (action.sa_sigaction == libc::SIG_IGN || action.sa_flags & libc::SA_NOCLDWAIT != 0)
}

/// Makes the calling process go on as if nothing had happened when it gets this signal. Programs that it executes do not
/// inherit that, as they would if the signal were ignored.
pub fn disregard(signal: Signal) -> nix::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(signal, &action) }.map(drop)
}
