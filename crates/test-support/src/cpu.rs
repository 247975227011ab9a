//! Brings a tracer and its tracee to one CPU: a single step is two switches between them, and takes half as long where
//! neither has to be woken on another CPU.

use std::{cell::Cell, sync::OnceLock};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};

/// Means the calling thread.
const ME: Pid = Pid::from_raw(0);

thread_local! {
    /// The only CPU that this thread may use now.
    static MINE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Binds the calling thread to the CPU it is on, unless it is bound, and `tracee` with it. `its` is the CPU that the
/// tracee was bound to.
pub(crate) fn bind(tracee: Pid, its: &mut Option<usize>) {
    let mine = MINE.get();
    if mine.is_some() && mine == *its {
        return;
    }
    let Some(cpu) = mine.or_else(bind_me) else { return };
    if bind_to(tracee, cpu) {
        *its = Some(cpu);
    }
}

/// Lets both use all CPUs again.
pub(crate) fn free(tracee: Pid, its: &mut Option<usize>) {
    if its.take().is_some()
        && let Some(all) = all()
    {
        let _ = sched_setaffinity(tracee, all);
    }
    free_me();
}

/// Lets the calling thread use all CPUs again; a child is born bound if its parent is.
pub fn free_me() {
    if MINE.take().is_some()
        && let Some(all) = all()
    {
        let _ = sched_setaffinity(ME, all);
    }
}

fn bind_me() -> Option<usize> {
    all()?;
    let cpu = sched_getcpu().ok()?;
    bind_to(ME, cpu).then(|| {
        MINE.set(Some(cpu));
        cpu
    })
}

fn bind_to(thread: Pid, cpu: usize) -> bool {
    let mut one = CpuSet::new();
    one.set(cpu).is_ok() && sched_setaffinity(thread, &one).is_ok()
}

/// What this process might use before anybody was bound.
fn all() -> Option<&'static CpuSet> {
    static ALL: OnceLock<Option<CpuSet>> = OnceLock::new();
    ALL.get_or_init(|| sched_getaffinity(ME).ok()).as_ref()
}
