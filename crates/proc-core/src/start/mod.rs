//! Starting processes: one way each in [`forkserver`], [`spawn`] and [`fork`], with what they share here.

pub(crate) mod conditions;
pub(crate) mod fork;
pub(crate) mod forkserver;
pub(crate) mod leaving;
pub(crate) mod marker;
mod method;
pub(crate) mod plain;
pub(crate) mod request;
pub(crate) mod spawn;
pub(crate) mod stdio;
pub(crate) mod vouch;

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::atomic::{AtomicU8, Ordering::Relaxed},
};

pub use method::StartMethod;

use crate::error::ProcessError;
use kernel::sys::pidfd;

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
    // Relaxed: all that it says is in the one byte.
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

/// Ends the helper process of [`StartMethod::ForkServer`] and the children that it keeps ready, if there are any, and reaps
/// them. They are children of the calling process like all others, and end by themselves ten seconds after the last start: a
/// program that waits for any child until there is none (`waitpid(-1)`) waits as long, or calls this before. The next start
/// makes others.
///
/// # Examples
/// ```
/// # use proc_core::{Process, end_fork_server};
/// Process::spawn(|| 1, ())?.join()?;
/// end_fork_server();
/// // There is no child left.
/// # Ok::<(), proc_core::ProcessError>(())
/// ```
pub fn end_fork_server() {
    forkserver::stop();
    leaving::reap();
}

/// A process that has just been started: a child of ours, not reaped by anybody.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
}

impl Started {
    /// Ends and reaps it, unless another part of the program has reaped it. In bounded time: one that cannot be killed, or does
    /// not end, is left to end by itself, and reaped later.
    pub(crate) fn kill(self) {
        let sent = pidfd::send_signal(self.pidfd.as_fd(), libc::SIGKILL);
        leaving::see_off(self.pidfd, sent.is_ok());
    }
}

/// Why a start failed: the operation, and what the kernel said.
pub(crate) fn failed(operation: &'static str) -> impl Fn(nix::errno::Errno) -> ProcessError {
    move |errno| ProcessError::Start { operation: operation.into(), source: errno.into() }
}

#[cfg(test)]
mod tests;
