//! Zombies and orphans: children that have ended and were not waited for, and those whose parent has ended.
//!
//! [`zombies`] lists the former. A [`Reaper`] looks after the latter: an orphan becomes a child of the nearest ancestor
//! that asked for it (a *subreaper*; in the end that is `init`), which must collect its exit status.
//! [`init`] is for a program that is process 1 of a container.
//!
//! # Whose child is it?
//! A reaper must not collect the status of a child that some other code of this process has started and will wait for:
//! that code would get `ECHILD`. The kernel does not tell an adopted child from one's own, so a [`Reaper`] reaps none
//! without proof that it was adopted:
//!
//! - it has been seen before, as the child of another process; or
//! - it is in a session that is neither its own nor one that this process has been in. A child begins in its parent's
//!   session and can only leave it for one of its own, so this one's parent was another process.
//!
//! It looks ten to a hundred times a second while there are descendants. An orphan whose parent ended sooner than that,
//! and made no session, stays in doubt, and stays a zombie once it ends ([`Reaper::in_doubt`] counts these). Two options
//! settle the doubt: [`ReaperBuilder::exclusive`], for programs that start processes with this crate only, and
//! [`ReaperBuilder::claim_after`].

mod census;
mod init;
mod service;

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

pub use init::init;
pub use service::{OrphanExit, Reaper, ReaperBuilder};

use kernel::fork_local::ForkLocal;

/// A child of the calling process that has ended, and was not waited for yet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Zombie {
    /// Its pid, which no other process gets before it has been waited for.
    pub pid: u32,
    /// What `/proc/PID/comm` says: the first 15 bytes of its name.
    pub name: String,
}

/// The zombies among the calling process's children, whichever code started them. Reaps none.
///
/// # Examples
/// ```
/// let mut child = std::process::Command::new("true").spawn()?;
/// while proc_core::reaper::zombies().is_empty() {
///     std::thread::yield_now();
/// }
/// child.wait()?;
/// assert!(proc_core::reaper::zombies().is_empty());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn zombies() -> Vec<Zombie> {
    let children = census::children_of(std::process::id()).into_iter();
    let mut zombies: Vec<_> = children.filter(|child| child.is_zombie()).map(|child| (child.pid, child.name)).collect();
    zombies.sort_unstable();
    zombies.into_iter().map(|(pid, name)| Zombie { pid, name }).collect()
}

static STARTS: ForkLocal<RwLock<()>> = ForkLocal::new();

/// Held while a child exists that is not known as ours yet.
pub(crate) fn starting() -> RwLockReadGuard<'static, ()> {
    STARTS.get().read().unwrap_or_else(PoisonError::into_inner)
}
