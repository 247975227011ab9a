//! Starting processes: one way each in [`forkserver`], [`spawn`] and [`fork`], with what they share here.

pub(crate) mod fork;
pub(crate) mod forkserver;
pub(crate) mod request;
pub(crate) mod spawn;
pub(crate) mod stdio;
pub(crate) mod vouch;

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::atomic::{AtomicU8, Ordering::Relaxed},
};

use crate::{
    error::ProcessError,
    sys::{pidfd, reap},
};

/// How a process comes into being.
///
/// | | time | inherits |
/// |---|---|---|
/// | `ForkServer` | that of a small fork, whatever the size of the caller | environment, working directory, umask, limits and standard streams as they were at the first start; no memory, no descriptors |
/// | `Spawn` | that of executing the program again | environment, working directory, umask, limits and standard streams as they are; no memory, no descriptors |
/// | `Fork` | grows with the caller's memory | everything, copied; only in a process without other threads |
///
/// None of them inherits signal masks; handlers are back to their defaults except under `Fork`, and but for those that
/// make a [`CrashReport`](crate::CrashReport).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartMethod {
    /// A helper process, started at the first use, forks itself for each child. The default.
    ForkServer,
    /// The program is executed anew for each child.
    Spawn,
    /// The calling process is forked.
    Fork,
}

static METHOD: AtomicU8 = AtomicU8::new(UNSET);
const UNSET: u8 = u8::MAX;

/// Sets the start method of all processes that do not name one themselves. Can be set once.
///
/// # Errors
/// [`ProcessError::StartMethodSet`] if another one has been set before.
#[doc(alias = "get_context")]
pub fn set_start_method(method: StartMethod) -> Result<(), ProcessError> {
    let number = match method {
        StartMethod::ForkServer => 0,
        StartMethod::Spawn => 1,
        StartMethod::Fork => 2,
    };
    match METHOD.compare_exchange(UNSET, number, Relaxed, Relaxed) {
        Ok(_) => Ok(()),
        Err(set) if set == number => Ok(()),
        Err(_) => Err(ProcessError::StartMethodSet { method: start_method() }),
    }
}

/// The start method of processes that do not name one themselves.
#[doc(alias = "get_start_method")]
pub fn start_method() -> StartMethod {
    match METHOD.load(Relaxed) {
        1 => StartMethod::Spawn,
        2 => StartMethod::Fork,
        _ => StartMethod::ForkServer,
    }
}

/// A process that has just been started: a child of ours, not reaped by anybody.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
}

impl Started {
    /// Ends and reaps it, unless somebody else has reaped it.
    pub(crate) fn kill(&self) {
        let _ = pidfd::send_signal(self.pidfd.as_fd(), libc::SIGKILL);
        let _ = reap::blocking(&self.pidfd);
    }
}

/// Why a start failed: the operation, and what the kernel said.
pub(crate) fn failed(operation: &'static str) -> impl Fn(nix::errno::Errno) -> ProcessError {
    move |errno| ProcessError::Start { operation: operation.into(), source: errno.into() }
}

#[cfg(test)]
mod tests;
