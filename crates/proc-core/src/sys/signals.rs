//! Signal masks.

use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};

/// Puts the calling thread's former mask back when dropped.
#[must_use]
pub(crate) struct Blocked {
    former: SigSet,
}

/// Blocks every signal that can be blocked, for the calling thread.
pub(crate) fn block_all() -> Blocked {
    let mut former = SigSet::empty();
    let result = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut former));
    debug_assert!(result.is_ok());
    Blocked { former }
}

/// Unblocks every signal, for the calling thread.
pub(crate) fn unblock_all() {
    let result = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
    debug_assert!(result.is_ok());
}

impl Drop for Blocked {
    fn drop(&mut self) {
        let result = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.former), None);
        debug_assert!(result.is_ok());
    }
}
