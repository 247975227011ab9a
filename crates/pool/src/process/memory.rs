//! How much memory a task may take: the kernel enforces a limit in the worker, and the owner watches the worker, as a task
//! may raise that limit.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    time::{Duration, Instant},
};

use kernel::{fds::above_standard_streams, sys::page};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use proc_core::function::CallError;

use crate::PoolError;

/// Fields of `/proc/PID/statm`, in bytes.
struct Statm([u64; 7]);

impl Statm {
    fn read(file: &File) -> Option<Self> {
        let mut text = [0; 160];
        let n = file.read_at(&mut text, 0).ok()?;
        Self::parse(std::str::from_utf8(&text[..n]).ok()?, page::size() as u64)
    }

    fn parse(text: &str, page_bytes: u64) -> Option<Self> {
        let mut pages = text.split_ascii_whitespace().map(|field| field.parse::<u64>().ok());
        let mut fields = [0; 7];
        for field in &mut fields {
            *field = pages.next()??.checked_mul(page_bytes)?;
        }
        Some(Self(fields))
    }

    /// Heap, stacks and private mappings, touched or not.
    fn data_bytes(&self) -> u64 {
        self.0[5]
    }

    /// What is in memory and belongs to no file and to no other process.
    fn private_bytes(&self) -> u64 {
        self.0[1].saturating_sub(self.0[2])
    }
}

/// Whether it can be known here how much memory a process has.
pub(super) fn is_known() -> bool {
    std::fs::metadata("/proc/self/statm").is_ok()
}

/// Why an option cannot be had where it is not known how much memory a process has.
pub(super) fn unknown(option: &'static str) -> PoolError {
    PoolError::Worker { option, why: "without a /proc it is not known how much memory it has" }
}

/// Limits how much a task may add to this process's private writable memory.
///
/// `RLIMIT_DATA` counts that (heap, stacks of threads, private mappings) and leaves alone what is shared.
pub(super) struct Limiter {
    /// The limit of tasks that have none of their own.
    of_pool: Option<u64>,
    /// Opened for the first task with a limit.
    kernel: Option<Kernel>,
    /// The last task had one.
    is_set: bool,
}

/// The file that the kernel is asked by, and the limits that it had before.
struct Kernel {
    statm: File,
    soft: u64,
    hard: u64,
}

impl Limiter {
    /// `opens_now`: the file that a task's own limit needs cannot be opened later.
    pub(super) fn new(of_pool: Option<u64>, opens_now: bool) -> Self {
        // At once if every task has one: a task may take away the means to open it.
        let kernel = if of_pool.is_some() || opens_now { Kernel::open() } else { None };
        Self { of_pool, kernel, is_set: false }
    }

    /// Whether the last task had a limit.
    pub(super) fn is_set(&self) -> bool {
        self.is_set
    }

    /// Sets the limit for a task anew, above what is there now; returns what a [`Watch`] compares with.
    ///
    /// # Errors
    /// If it is not known what is there now.
    pub(super) fn begin(&mut self, own: Option<u64>) -> Result<Option<u64>, CallError> {
        let Some(limit) = own.or(self.of_pool) else {
            if let Some(kernel) = self.kernel.as_ref().filter(|_| self.is_set) {
                let _ = setrlimit(Resource::RLIMIT_DATA, kernel.soft, kernel.hard);
                self.is_set = false;
            }
            return Ok(None);
        };
        if self.kernel.is_none() {
            self.kernel = Kernel::open();
        }
        let known = self.kernel.as_ref().and_then(|kernel| Some((kernel, Statm::read(&kernel.statm)?)));
        let Some((kernel, statm)) = known else {
            return if limit == u64::MAX { Ok(None) } else { Err(CallError::Unlimited) };
        };
        let soft = statm.data_bytes().saturating_add(limit).min(kernel.hard);
        let _ = setrlimit(Resource::RLIMIT_DATA, soft, kernel.hard);
        self.is_set = true;
        Ok(Some(statm.private_bytes()))
    }
}

impl Kernel {
    fn open() -> Option<Self> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_DATA).ok()?;
        let statm = above_standard_streams(File::open("/proc/self/statm").ok()?).ok()?;
        Some(Self { statm, soft, hard })
    }
}

/// How much private memory this process has, beside how much it may keep.
pub(super) struct Gauge {
    statm: File,
    mark: u64,
    looked: Option<Instant>,
}

/// A look takes 1.6 microseconds (Linux 6.18), and some tasks less.
const LOOKS_APART: Duration = Duration::from_micros(200);

impl Gauge {
    pub(super) fn new(mark: u64) -> Option<Self> {
        Some(Self { statm: above_standard_streams(File::open("/proc/self/statm").ok()?).ok()?, mark, looked: None })
    }

    /// Whether it has more than it may keep; looks every [`LOOKS_APART`].
    pub(super) fn exceeds(&mut self) -> bool {
        let now = Instant::now();
        if self.looked.is_some_and(|looked| now < looked + LOOKS_APART) {
            return false;
        }
        self.looked = Some(now);
        Statm::read(&self.statm).is_some_and(|statm| statm.private_bytes() > self.mark)
    }
}

/// How often a busy worker is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The owner's watch over one worker's memory.
pub(super) struct Watch {
    statm: File,
    /// The task that it was last seen with, and what it had when it was seen with that first.
    task: u64,
    at_first: u64,
    looked: Instant,
}

impl Watch {
    pub(super) fn new(pid: u32) -> Option<Self> {
        let statm = above_standard_streams(File::open(format!("/proc/{pid}/statm")).ok()?).ok()?;
        Some(Self { statm, task: 0, at_first: 0, looked: Instant::now() })
    }

    /// Whether `task` has taken more than `limit`; looks every [`LOOK_EVERY`]. `noted` is what the worker says it had when
    /// it began, for the task may have taken its memory before it is seen here; 0 if it has not begun.
    pub(super) fn exceeds(&mut self, task: u64, limit: u64, noted: u64, now: Instant) -> bool {
        if now < self.looked + LOOK_EVERY {
            return false;
        }
        self.looked = now;
        let Some(statm) = Statm::read(&self.statm) else { return false };
        let has = statm.private_bytes();
        if self.task != task {
            (self.task, self.at_first) = (task, has);
        }
        // A note of more than was seen is not believed.
        let had = if noted == 0 { self.at_first } else { noted.min(self.at_first) };
        has.saturating_sub(had) > limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_as_long_as_the_kernel_has_them() {
        for page in [4 << 10, 16 << 10, 64 << 10] {
            let statm = Statm::parse("9000 800 300 5 0 2000 0\n", page).unwrap();
            assert_eq!((statm.data_bytes(), statm.private_bytes()), (2000 * page, 500 * page));
        }
        assert!(Statm::parse("1 2 3", 4096).is_none());
    }
}
