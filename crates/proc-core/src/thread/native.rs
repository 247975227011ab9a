//! What the kernel knows of a thread.
//!
//! # Safety
//! Takes integers, and writes to a `timespec` of ours.
#![allow(unsafe_code)]

use kernel::sys::proc_fs::Stat;

/// Where a thread is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Not started yet.
    New,
    /// Could run, but no CPU is free for it.
    #[doc(alias = "Ready")]
    Runnable,
    /// On a CPU.
    Running,
    /// Waits: for a lock, for input, for time to pass; or is stopped.
    Blocked,
    /// Its function has returned, or panicked.
    #[doc(alias = "Dead")]
    Terminated,
}

/// The calling thread's number.
pub(super) fn own_id() -> u32 {
    // SAFETY: takes nothing.
    let id = unsafe { libc::gettid() };
    id.cast_unsigned()
}

/// Whether the calling thread is the process's first, or the only one of a forked child.
pub(super) fn is_main() -> bool {
    own_id() == std::process::id()
}

/// The state of a thread of this process.
pub(super) fn state_of(id: u32) -> State {
    if id == own_id() {
        return State::Running;
    }
    match Stat::of_thread(id).map(|stat| stat.state) {
        Some('R') if is_on_cpu(id) => State::Running,
        Some('R') => State::Runnable,
        Some('Z' | 'X') | None => State::Terminated,
        Some(_) => State::Blocked,
    }
}

/// The kernel brings a thread's CPU clock up to date at each reading if, and only if, the thread is on a CPU.
fn is_on_cpu(id: u32) -> bool {
    match (cpu_time(id), cpu_time(id)) {
        (Some(earlier), Some(later)) => earlier != later,
        _ => false,
    }
}

fn cpu_time(id: u32) -> Option<(i64, i64)> {
    // CPUCLOCK_SCHED | CPUCLOCK_PERTHREAD_MASK: how the kernel names the clock of one thread, see clock_getres(2).
    let clock = !id.cast_signed() << 3 | 6;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable; a wrong clock is an error.
    let rc = unsafe { libc::clock_gettime(clock, &raw mut time) };
    (rc == 0).then_some((time.tv_sec, time.tv_nsec))
}
