//! The settings of a process besides its function: environment, directory, streams, limits, scheduling.
//!
//! # Safety
//! Changes the environment of a process that has only just begun and has one thread.
#![allow(unsafe_code)]

use std::{
    ffi::{OsStr, OsString},
    os::fd::{AsFd, OwnedFd},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
};

use nix::{errno::Errno, sys::resource, unistd};
use serde::{Deserialize, Serialize};

use crate::{
    logs::terms::{self, Terms},
    start::plain::{Plain, plain},
};
use kernel::sys::{fds, soft_limits};

/// Asked for by the builder, applied in the child.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) clear_env: bool,
    pub(crate) env: Vec<(OsString, Option<OsString>)>,
    pub(crate) current_dir: Option<PathBuf>,
    /// Which of the standard streams come along as descriptors.
    pub(crate) streams: [bool; 3],
    pub(crate) limits: Vec<(Resource, u64)>,
    pub(crate) nice: Option<i32>,
    pub(crate) cpus: Vec<usize>,
    pub(crate) own_group: bool,
    pub(crate) outlives_owner: bool,
    pub(crate) no_crash_report: bool,
    /// How it forwards its records; the descriptors for that come after the streams.
    pub(crate) logs: Option<Terms>,
    #[cfg(feature = "confine")]
    pub(crate) confinement: Option<crate::confine::Asked>,
}
plain!(Options {
    clear_env,
    env,
    current_dir,
    streams,
    limits,
    nice,
    cpus,
    own_group,
    outlives_owner,
    no_crash_report,
    logs,
    #[cfg(feature = "confine")]
    confinement,
});

/// A resource that the kernel limits for each process; see getrlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Resource {
    /// Bytes of address space (`RLIMIT_AS`). A Rust program that runs out of it aborts.
    AddressSpace,
    /// Bytes of a core dump (`RLIMIT_CORE`).
    CoreDump,
    /// Seconds of CPU time (`RLIMIT_CPU`); the process is killed with `SIGXCPU`.
    CpuTime,
    /// Bytes of heap and other private data (`RLIMIT_DATA`).
    Data,
    /// Bytes of any file that it writes (`RLIMIT_FSIZE`).
    FileSize,
    /// Open descriptors (`RLIMIT_NOFILE`).
    OpenFiles,
    /// Processes and threads of its user (`RLIMIT_NPROC`).
    Processes,
    /// Bytes of the main thread's stack (`RLIMIT_STACK`).
    Stack,
    /// Bytes locked into memory (`RLIMIT_MEMLOCK`).
    LockedMemory,
}

impl Resource {
    const ALL: [Self; 9] = [
        Self::AddressSpace,
        Self::CoreDump,
        Self::CpuTime,
        Self::Data,
        Self::FileSize,
        Self::OpenFiles,
        Self::Processes,
        Self::Stack,
        Self::LockedMemory,
    ];

    fn to_nix(self) -> resource::Resource {
        match self {
            Self::AddressSpace => resource::Resource::RLIMIT_AS,
            Self::CoreDump => resource::Resource::RLIMIT_CORE,
            Self::CpuTime => resource::Resource::RLIMIT_CPU,
            Self::Data => resource::Resource::RLIMIT_DATA,
            Self::FileSize => resource::Resource::RLIMIT_FSIZE,
            Self::OpenFiles => resource::Resource::RLIMIT_NOFILE,
            Self::Processes => resource::Resource::RLIMIT_NPROC,
            Self::Stack => resource::Resource::RLIMIT_STACK,
            Self::LockedMemory => resource::Resource::RLIMIT_MEMLOCK,
        }
    }
}

impl Plain for Resource {
    fn put(&self, to: &mut Vec<u8>) {
        (*self as u8).put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        Self::ALL.get(usize::from(u8::take(from)?)).copied()
    }
}

/// What could not be done.
pub(crate) type Refusal = (String, Errno);

impl Options {
    /// How many descriptors come along for it: streams, and what forwards.
    pub(crate) fn n_fds(&self) -> usize {
        self.n_streams() + if self.logs.is_some() { terms::N_FDS } else { 0 }
    }

    /// How many of those are streams: the first.
    pub(crate) fn n_streams(&self) -> usize {
        self.streams.iter().filter(|given| **given).count()
    }

    /// Applies them to the calling process. `streams` are the descriptors for those that `self.streams` names.
    pub(crate) fn apply(&self, streams: Vec<OwnedFd>) -> Result<(), Refusal> {
        self.apply_env();
        for (number, fd) in (0..).zip(self.streams).filter(|(_, given)| *given).map(|(n, _)| n).zip(streams) {
            fds::replace_standard_stream(fd.as_fd(), number)
                .map_err(|e| (format!("redirect standard stream {number}"), e))?;
        }
        if self.own_group {
            unistd::setpgid(unistd::Pid::from_raw(0), unistd::Pid::from_raw(0))
                .map_err(|e| ("make a process group".into(), e))?;
        }
        if let Some(dir) = &self.current_dir {
            unistd::chdir(dir).map_err(|e| (format!("enter the directory {}", dir.display()), e))?;
        }
        if let Some(nice) = self.nice {
            set_nice(nice).map_err(|e| (format!("set the nice value {nice}"), e))?;
        }
        if !self.cpus.is_empty() {
            self.set_affinity().map_err(|e| (format!("bind to CPUs {:?}", self.cpus), e))?;
        }
        // Last: a limit may be too narrow for the rest.
        for (which, limit) in &self.limits {
            resource::setrlimit(which.to_nix(), *limit, *limit)
                .map_err(|e| (format!("limit {which:?} to {limit}"), e))?;
        }
        Ok(())
    }

    /// The name of a variable that no environment can have, or has with no such value.
    pub(crate) fn impossible_variable(&self) -> Option<&OsStr> {
        let has = |text: &OsStr, byte| text.as_bytes().contains(&byte);
        let is_impossible = |(key, value): &&(OsString, Option<OsString>)| {
            key.is_empty() || has(key, b'=') || has(key, 0) || value.as_ref().is_some_and(|value| has(value, 0))
        };
        self.env.iter().find(is_impossible).map(|(key, _)| key.as_os_str())
    }

    fn apply_env(&self) {
        if self.clear_env {
            for (key, _) in std::env::vars_os() {
                // SAFETY: the process has one thread.
                unsafe { std::env::remove_var(key) };
            }
        }
        for (key, value) in &self.env {
            match value {
                // SAFETY: the process has one thread.
                Some(value) => unsafe { std::env::set_var(key, value) },
                // SAFETY: the process has one thread.
                None => unsafe { std::env::remove_var(key) },
            }
        }
    }

    fn set_affinity(&self) -> nix::Result<()> {
        let mut set = nix::sched::CpuSet::new();
        self.cpus.iter().try_for_each(|cpu| set.set(*cpu))?;
        nix::sched::sched_setaffinity(unistd::Pid::from_raw(0), &set)
    }
}

/// Makes std print no backtraces at panics where memory is limited for good: it needs tens of megabytes, under a lock, and
/// if it is refused some, the report of that waits for the same lock for ever. The owner gets the backtrace all the same.
pub(crate) fn print_no_backtraces_without_memory() {
    if soft_limits::are_final() {
        print_no_backtraces();
    }
}

/// Makes std print no backtraces at panics. The owner gets them all the same. In a process with one thread.
pub(crate) fn print_no_backtraces() {
    let Some(setting) = std::env::var_os("RUST_BACKTRACE").filter(|setting| setting != "0") else { return };
    if std::env::var_os("RUST_LIB_BACKTRACE").is_none() {
        // SAFETY: the process has one thread.
        unsafe { std::env::set_var("RUST_LIB_BACKTRACE", setting) };
    }
    // SAFETY: the process has one thread.
    unsafe { std::env::set_var("RUST_BACKTRACE", "0") };
}

fn set_nice(nice: i32) -> nix::Result<()> {
    // SAFETY: takes integers only.
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) }).map(drop)
}
