//! The calling process as a confined one.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use nix::errno::Errno;

use super::{Asked, Failed, Fence};
use crate::{crash, lock::lock};
use kernel::{
    identity::{PidNamespace, ProcessId},
    sys::{cpus, open_file, proc_fs},
};

/// What the process is to be confined to when its function says so.
static DEFERRED: Mutex<Option<Asked>> = Mutex::new(None);
/// It may start no processes any more.
static STARTS_NOTHING: AtomicBool = AtomicBool::new(false);

/// Whether the calling process may start others, as far as this library confined it. A process that it was forked from was confined
/// as well.
pub(crate) fn may_start_processes() -> bool {
    !STARTS_NOTHING.load(Relaxed)
}

/// Finds out and opens what a confined process could not any more. In a process with one thread.
pub(crate) fn prepare(asked: &Asked, is_reported: bool) {
    // Looked up once a process.
    PidNamespace::current();
    ProcessId::current();
    cpus::are_several();
    cpus::available();
    wire::stack::learn_stack();
    if is_reported {
        crash::handler::confine(asked.confinement.ends && asked.held.holds(Fence::Calls));
    }
}

/// Confines the calling process, now or when [`enter_deferred`] is called.
pub(crate) fn enter(asked: Asked) -> Result<(), Failed> {
    if asked.is_deferred {
        *lock(&DEFERRED) = Some(asked);
        return Ok(());
    }
    asked.confinement.apply(asked.held)?;
    if asked.confinement.no_processes {
        STARTS_NOTHING.store(true, Relaxed);
    }
    if asked.opens_nothing() {
        open_file::give_up();
    }
    Ok(())
}

/// Confines the calling process, if that was put off until now.
pub(crate) fn enter_deferred() -> Result<(), Failed> {
    let Some(asked) = lock(&DEFERRED).take() else { return Ok(()) };
    // Landlock confines the thread that asks for it.
    if asked.held.has_landlock() && proc_fs::thread_count().map_or(true, |n_threads| n_threads > 1) {
        let names = proc_fs::other_threads().join(", ");
        let what = format!("confine by Landlock the threads that were left running: {names}");
        return Err((what, Errno::EOPNOTSUPP));
    }
    enter(Asked { is_deferred: false, ..asked })
}
