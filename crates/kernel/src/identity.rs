//! Which process a pid means, so that a reused pid is not mistaken for its former bearer.

use std::{
    num::NonZero,
    os::fd::AsFd,
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

use nix::errno::Errno;

use crate::{
    at_fork,
    sys::{open_file, pid_namespace, pidfd, proc_fs::Stat},
};

/// A process, told apart from later bearers of the same pid by the time it started.
///
/// Two words, fit for shared memory. Meaningful inside one pid namespace, to processes that see this one in `/proc`. To act
/// on a process that may be out of sight, without error, use a [`Participant`].
///
/// [`Participant`]: crate::liveness::Participant
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProcessId {
    /// The pid.
    pub pid: u32,
    /// Start time in clock ticks since boot: field 22 of `/proc/PID/stat`. 0 if that could not be read.
    pub start_time: u64,
}

/// The inode of the namespace that this image first knew of; 0 before.
static FIRST_NAMESPACE: AtomicU32 = AtomicU32::new(0);

/// A pid namespace, by its inode: what a pid means depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PidNamespace(NonZero<u32>);

impl PidNamespace {
    /// That of the calling process; `None` if it cannot be found out, as on a kernel older than 6.11 without `/proc`.
    pub fn current() -> Option<Self> {
        // The generation of forks above, the inode below: a child may be in another namespace than its parent.
        // Relaxed: all that it says is in the one word, and threads that find it out at once store the same.
        static KNOWN: AtomicU64 = AtomicU64::new(0);
        let generation = u64::from(at_fork::generation());
        let known = KNOWN.load(Relaxed);
        if known >> 32 == generation && known as u32 != 0 {
            return Self::from_inode(known as u32);
        }
        let inode = pid_namespace::inode()?;
        KNOWN.store(generation << 32 | u64::from(inode), Relaxed);
        let _ = FIRST_NAMESPACE.compare_exchange(0, inode, Relaxed, Relaxed);
        Self::from_inode(inode)
    }

    /// Whether the calling process may be in another namespace than one that it was forked from: then what it has
    /// inherited may hold ids that mean something else to it. True if it cannot be found out. Code that hands ids to forked
    /// children must call [`current`](Self::current) before.
    pub fn may_have_changed() -> bool {
        match Self::current() {
            Some(namespace) => namespace.inode() != FIRST_NAMESPACE.load(Relaxed),
            None => at_fork::generation() > 0,
        }
    }

    /// Whether the pids in `/proc` are those of the calling process's namespace; they may be those of one around it. False
    /// if it cannot be found out.
    pub fn is_that_of_proc() -> bool {
        if open_file::is_given_up() {
            return false;
        }
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        // The process's pids: in the namespace of this `/proc`, and in each inside it, down to its own.
        let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        pids.is_some_and(|pids| pids.split_ascii_whitespace().count() == 1)
    }

    /// The namespace with that inode; `None` for 0.
    pub fn from_inode(inode: u32) -> Option<Self> {
        NonZero::new(inode).map(Self)
    }

    /// The inode of its `/proc/PID/ns/pid`.
    pub fn inode(self) -> u32 {
        self.0.get()
    }
}

/// The kernel's own limit for pids.
const PID_BITS: u32 = 22;
const PID_MASK: u64 = (1 << PID_BITS) - 1;

impl ProcessId {
    /// The calling process. The first call in a process reads `/proc/self/stat`, if there is one.
    pub fn current() -> Self {
        // Start times are never 0 for a user process; a forked child begins at 0 again. Relaxed: as above.
        static START_TIME: AtomicU64 = AtomicU64::new(0);
        static RESET: std::sync::Once = std::sync::Once::new();
        RESET.call_once(|| at_fork::on_child(|| START_TIME.store(0, Relaxed)));
        let pid = std::process::id();
        let mut start_time = START_TIME.load(Relaxed);
        if start_time == 0 {
            start_time = Stat::of_self().map_or(0, |stat| stat.start_time);
            START_TIME.store(start_time, Relaxed);
        }
        Self { pid, start_time }
    }

    /// The process that bears `pid` now; `None` if there is none in `/proc`.
    pub fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, start_time: Stat::of(pid)?.start_time })
    }

    /// As one word, for shared memory; never 0. Start times have room for 4,000 years at 1 kHz.
    pub fn to_word(self) -> u64 {
        self.start_time << PID_BITS | u64::from(self.pid) & PID_MASK
    }

    /// The process that [`to_word`](Self::to_word) made the word of; any word is taken for a process.
    pub fn from_word(word: u64) -> Self {
        Self { pid: (word & PID_MASK) as u32, start_time: word >> PID_BITS }
    }

    /// Whether it still runs: false for a zombie, and for a pid that belongs to another process by now.
    ///
    /// A few system calls; never blocks. What cannot be found out (in a full descriptor table, or about a process that is
    /// not in `/proc`) counts as alive.
    pub fn is_alive(&self) -> bool {
        let is_another = || {
            let start_time = Stat::of(self.pid).map_or(0, |stat| stat.start_time);
            ![0, self.start_time].contains(&start_time) && self.start_time != 0 && PidNamespace::is_that_of_proc()
        };
        match pidfd::open(self.pid) {
            Ok(fd) => !pidfd::has_exited(fd.as_fd()) && !is_another(),
            Err(Errno::ESRCH | Errno::EINVAL) => false,
            Err(_) => !is_another(),
        }
    }
}

/// A number that changes whenever this process has learned of another's end: by joining it, waiting for it, or asking
/// whether it is alive. Costs a load, so that it can be looked at where asking the kernel would cost too much.
#[inline]
pub fn deaths_seen() -> u32 {
    pidfd::DEATHS_SEEN.load(Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn current_is_alive_and_stable() {
        assert!(ProcessId::current().is_alive());
        assert_eq!(ProcessId::of(std::process::id()), Some(ProcessId::current()));
    }

    #[test]
    fn another_start_time_is_another_process() {
        let me = ProcessId::current();
        assert!(!ProcessId { start_time: me.start_time + 1, ..me }.is_alive());
    }

    #[test]
    fn a_zombie_is_dead() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let id = ProcessId::of(child.id()).unwrap();
        let fd = pidfd::open(child.id()).unwrap();
        pidfd::wait_exit(fd.as_fd(), None).unwrap();
        assert!(!id.is_alive());
        child.wait().unwrap();
    }
}
