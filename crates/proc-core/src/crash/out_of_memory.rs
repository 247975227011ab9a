//! Whether the kernel killed a child for want of memory.
//!
//! The kernel does not say so, but it counts such deaths ([`oom`]). Each of them explains one child that was killed since the
//! last look at the count. In a control group with other programs' processes, or without one, it may have been one of those.

use std::sync::{Mutex, OnceLock};

use crate::lock::lock;
use kernel::{fork_local::ForkLocal, sys::oom};

/// How many of those deaths have explained a child, or came before the first child.
static EXPLAINED: ForkLocal<OnceLock<Option<Mutex<u64>>>> = ForkLocal::new();

/// To be called before the first child can have died. Looks at the count, once in each process.
pub(crate) fn begin() {
    explained();
}

fn explained() -> Option<&'static Mutex<u64>> {
    EXPLAINED.get().get_or_init(|| oom::n_kills().map(Mutex::new)).as_ref()
}

/// Whether a death by SIGKILL is one of those. To be called once for each death.
pub(crate) fn explains_a_kill() -> bool {
    let Some(explained) = explained() else { return false };
    let mut explained = lock(explained);
    let is_explained = oom::n_kills().is_some_and(|n_kills| n_kills > *explained);
    *explained += u64::from(is_explained);
    is_explained
}
