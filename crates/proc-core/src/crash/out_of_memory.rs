//! Whether it was the kernel that killed a child, for want of memory.
//!
//! It does not say so, but counts ([`oom`]). Each of those deaths explains one child that was killed since the count was last
//! looked at. In a control group with processes of others, or without one, it may have been theirs.

use std::sync::{Mutex, OnceLock};

use crate::lock::lock;
use kernel::{fork_local::ForkLocal, sys::oom};

/// How many of them have been explained, or were before the first child.
static EXPLAINED: ForkLocal<OnceLock<Option<Mutex<u64>>>> = ForkLocal::new();

/// To be called before the first child can have died. Looks at the count once a process.
pub(crate) fn begin() {
    explained();
}

fn explained() -> Option<&'static Mutex<u64>> {
    EXPLAINED.get().get_or_init(|| oom::n_kills().map(Mutex::new)).as_ref()
}

/// Whether a death by SIGKILL that has not been asked about before is one of those.
pub(crate) fn explains_a_kill() -> bool {
    let Some(explained) = explained() else { return false };
    let mut explained = lock(explained);
    let is_explained = oom::n_kills().is_some_and(|n_kills| n_kills > *explained);
    *explained += u64::from(is_explained);
    is_explained
}
