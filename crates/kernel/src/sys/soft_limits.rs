//! Lifts the soft limits on memory while code runs whose allocations must not fail.
//!
//! # Safety
//! Asks for limits and sets them, in plain structures.
#![allow(unsafe_code)]

use std::sync::{Mutex, PoisonError};

/// Limits that make an allocation fail.
const MEMORY: [libc::__rlimit_resource_t; 2] = [libc::RLIMIT_DATA, libc::RLIMIT_AS];

/// Which limits were lifted, and how many threads use that now.
struct Lifted {
    n_users: usize,
    former: [Option<libc::rlimit>; 2],
}

static LIFTED: Mutex<Lifted> = Mutex::new(Lifted { n_users: 0, former: [None; 2] });

/// Until it is dropped, the soft limits on this process's memory are as high as its hard ones.
#[derive(Debug)]
pub struct MemoryRelief(());

impl MemoryRelief {
    /// Lifts them.
    pub fn begin() -> Self {
        let mut lifted = LIFTED.lock().unwrap_or_else(PoisonError::into_inner);
        if lifted.n_users == 0 {
            lifted.former = MEMORY.map(lift);
        }
        lifted.n_users += 1;
        Self(())
    }
}

impl Drop for MemoryRelief {
    fn drop(&mut self) {
        let mut lifted = LIFTED.lock().unwrap_or_else(PoisonError::into_inner);
        lifted.n_users -= 1;
        if lifted.n_users == 0 {
            for (which, former) in MEMORY.into_iter().zip(std::mem::take(&mut lifted.former)) {
                if let Some(former) = former {
                    // SAFETY: a valid structure; the kernel checks what it says.
                    unsafe { libc::setrlimit(which, &raw const former) };
                }
            }
        }
    }
}

/// Whether there is a limit that this process cannot lift.
pub fn are_final() -> bool {
    MEMORY.into_iter().any(|which| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        let unchanged = std::ptr::null::<libc::rlimit>();
        // Asked by each child. The C library's function lies on a page that a child needs for nothing else.
        // SAFETY: the structure is this function's own.
        let rc = unsafe { libc::syscall(libc::SYS_prlimit64, 0, which, unchanged, &raw mut limit) };
        rc == 0 && limit.rlim_max != libc::RLIM_INFINITY
    })
}

/// The former limit, if it was lower than the hard one.
fn lift(which: libc::__rlimit_resource_t) -> Option<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is this function's own.
    let known = unsafe { libc::getrlimit(which, &raw mut limit) } == 0;
    if !known || limit.rlim_cur == limit.rlim_max {
        return None;
    }
    let lifted = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    // SAFETY: a valid structure; a soft limit may be raised up to the hard one.
    (unsafe { libc::setrlimit(which, &raw const lifted) } == 0).then_some(limit)
}
