//! Forked children.

use std::{
    io::{Read, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::AtomicU64,
    time::Duration,
};

use nix::{
    sys::{
        prctl::set_pdeathsig,
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, fork},
};
use proc_core::shm::Shared;
use test_support::Watchdog;

pub(crate) const SOON: Duration = Duration::from_millis(20);
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) fn dog() -> Watchdog {
    test_support::watchdog(LONG)
}

pub(crate) fn dog_for(limit: Duration) -> Watchdog {
    test_support::watchdog(limit)
}

/// Random enough, and another sequence each time.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Self(now.as_nanos() as u64 | 1)
    }

    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    pub(crate) fn sleep_a_little(&mut self) {
        std::thread::sleep(Duration::from_micros(self.roll(300)));
    }
}

/// A number that all processes share.
pub(crate) fn counter() -> Shared<AtomicU64> {
    Shared::new(AtomicU64::new(0)).unwrap()
}

/// A forked child, killed when dropped.
pub(crate) struct Child(Option<Pid>);

impl Child {
    /// Forks a child that runs `work`, and exits with 0 if that returns. It may start no threads: std's lock for that may be
    /// another thread's of this program, which the child does not have. For those there is `Process`.
    pub(crate) fn spawn(work: impl FnOnce()) -> Self {
        // SAFETY: the children use locks of ours, the allocator and system calls, all of which work after a fork.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => Self(Some(child)),
            ForkResult::Child => {
                // A run that is given up leaves nobody behind. The test's thread waits for its children: it outlives them.
                let _ = set_pdeathsig(Signal::SIGKILL);
                let status = i32::from(catch_unwind(AssertUnwindSafe(work)).is_err());
                // SAFETY: ends the child, without what the parent registered to run at exit.
                unsafe { libc::_exit(status) }
            }
        }
    }

    /// Forks a child that runs `work`, then tells its parent and waits to be killed; returns when it has told.
    pub(crate) fn spawn_and_stay(work: impl FnOnce()) -> Self {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let child = Self::spawn(|| {
            work();
            writer.write_all(b"x").unwrap();
            loop {
                std::thread::park();
            }
        });
        drop(writer);
        assert_eq!(reader.read(&mut [0]).unwrap(), 1, "the child failed");
        child
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.unwrap().as_raw() as u32
    }

    pub(crate) fn kill(mut self) {
        self.kill_now();
    }

    fn kill_now(&mut self) {
        if let Some(pid) = self.0.take() {
            kill(pid, Signal::SIGKILL).unwrap();
            waitpid(pid, None).unwrap();
        }
    }

    /// Waits for the child, which must succeed.
    pub(crate) fn join(self) {
        assert!(matches!(self.end(), WaitStatus::Exited(_, 0)));
    }

    /// Waits for the child, whatever becomes of it.
    pub(crate) fn end(mut self) -> WaitStatus {
        waitpid(self.0.take().unwrap(), None).unwrap()
    }

    /// Stops the child, which must not have ended.
    pub(crate) fn stop(&self) {
        let pid = self.0.unwrap();
        kill(pid, Signal::SIGSTOP).unwrap();
        let status = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert!(matches!(status, WaitStatus::Stopped(..)), "a child has failed: {status:?}");
    }

    /// Returns when the child sleeps on a futex, or is gone.
    pub(crate) fn wait_until_asleep(&self) {
        let is_gone = || self.look_up("stat").rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'));
        while !self.is_in_futex() && !is_gone() {
            std::thread::yield_now();
        }
    }

    /// Whether the child sleeps on a futex, or has been stopped there.
    pub(crate) fn is_in_futex(&self) -> bool {
        self.look_up("syscall").starts_with(&format!("{} ", libc::SYS_futex))
    }

    fn look_up(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.pid())).unwrap_or_default()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill_now();
    }
}
