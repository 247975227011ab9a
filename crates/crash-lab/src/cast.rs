//! The processes of an experiment beside the victim: forked, given a time to answer in, and ended.
//!
//! # Safety
//! Forks, from a driver that is single-threaded.
#![allow(unsafe_code)]

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, fork},
};
use proc_core::shm::SharedMemory;
use test_support::{cpu, processes};

use crate::{operation::Verdict, stopwatch::Stopwatch};

/// How long a survivor may take. Far more than it needs, for the machine may be busy; less once it is clear that there
/// is a fault to be counted.
pub(crate) fn patience() -> Duration {
    Duration::from_millis(PATIENCE_MILLIS.load(Relaxed))
}

/// Patience enough with what has failed before.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// From now on, waits for no answer longer than `limit`.
pub(crate) fn lose_patience(limit: Duration) {
    PATIENCE_MILLIS.fetch_min(limit.as_millis() as u64, Relaxed);
}

static PATIENCE_MILLIS: AtomicU64 = AtomicU64::new(6000);

/// Adopts those whose parents die. Called once, in each driver.
pub(crate) fn adopt_orphans() {
    // SAFETY: takes integers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
}

/// Reaps whoever has ended; at a time when no actor is at work.
pub(crate) fn reap_strays() {
    while let Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {}
}

/// A forked child that does something and says how it went.
pub(crate) struct Actor {
    pid: Pid,
    said: SharedMemory,
    answer: Option<Verdict>,
}

impl Actor {
    pub(crate) fn start(part: impl FnOnce() -> Verdict) -> io::Result<Self> {
        let said = SharedMemory::new(4096)?;
        // SAFETY: the driver is single-threaded, so the child may do whatever the parent may.
        match unsafe { fork()? } {
            ForkResult::Parent { child } => Ok(Self { pid: child, said, answer: None }),
            ForkResult::Child => {
                cpu::free_me();
                // What it has to say goes into the report.
                std::panic::set_hook(Box::new(|_| {}));
                // SAFETY: takes two integers. The driver forks from its only thread, so "parent thread" is the process.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                let verdict = std::panic::catch_unwind(std::panic::AssertUnwindSafe(part));
                let status = match verdict.unwrap_or_else(|panic| Err(message(&*panic))) {
                    Ok(()) => 0,
                    Err(why) => {
                        say(&said, &why);
                        1
                    }
                };
                // SAFETY: ends the process, and nothing of the driver's is run on the way out.
                unsafe { libc::_exit(status) }
            }
        }
    }

    /// Its pid, which is also the id of its only thread.
    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Whether it sleeps in a system call (or is gone).
    pub(crate) fn settles(&mut self, limit: Duration) -> bool {
        let mut begun = Stopwatch::start();
        let mut asleep = 0;
        while asleep < 3 {
            if self.poll().is_some() {
                return true;
            }
            if begun.elapsed() > limit {
                return false;
            }
            asleep = if processes::is_asleep(self.pid.as_raw()) { asleep + 1 } else { 0 };
            std::thread::sleep(Duration::from_micros(150));
        }
        true
    }

    /// Waits for the end.
    pub(crate) fn verdict(mut self, limit: Duration) -> Verdict {
        let mut begun = Stopwatch::start();
        loop {
            if let Some(verdict) = self.poll() {
                return verdict;
            }
            if begun.elapsed() > limit {
                return Err(format!(
                    "WEDGED: no answer within {limit:?}\n{}",
                    processes::whereabouts(self.pid.as_raw())
                ));
            }
            if begun.elapsed() > Duration::from_micros(500) {
                std::thread::sleep(Duration::from_micros(100));
            } else {
                std::thread::yield_now();
            }
        }
    }

    /// What it said, if it has ended.
    pub(crate) fn poll(&mut self) -> Option<Verdict> {
        if self.answer.is_none() {
            self.answer = match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => None,
                Ok(WaitStatus::Exited(_, 0)) => Some(Ok(())),
                Ok(WaitStatus::Exited(_, 1)) => Some(Err(heard(&self.said))),
                other => Some(Err(format!("it ended with {other:?}"))),
            };
        }
        self.answer.clone()
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        if self.answer.is_none() {
            let _ = kill(self.pid, Signal::SIGKILL);
            while waitpid(self.pid, None) == Err(Errno::EINTR) {}
        }
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", text.unwrap_or_default())
}

fn say(memory: &SharedMemory, text: &str) {
    let len = text.len().min(memory.len() - 1);
    // SAFETY: inside the block, whose only other user waits for this process to end.
    unsafe { memory.as_ptr().as_ptr().copy_from_nonoverlapping(text.as_ptr(), len) };
}

fn heard(memory: &SharedMemory) -> String {
    // SAFETY: the whole block; its writer has ended.
    let bytes = unsafe { std::slice::from_raw_parts(memory.as_ptr().as_ptr(), memory.len()) };
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}
