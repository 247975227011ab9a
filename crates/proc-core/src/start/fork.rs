//! Start method `Fork`: the calling process is copied, with all that it has.
//!
//! # Safety
//! Only in a process without other threads, whose locks (the allocator's, for one) would stay locked for ever in the
//! copy.
#![allow(unsafe_code)]

use std::{
    io::{ErrorKind, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use nix::errno::Errno;

use crate::{
    child, children,
    current::ProcessIdentity,
    death_link,
    error::ProcessError,
    function::CallError,
    options::Options,
    process::ProcessHandle,
    report::Report,
    start::{Started, conditions, failed},
    turn::{self, Turn, Waited},
};
use kernel::{
    handover::Packed,
    helper,
    sys::{fds, pidfd, reap, signals},
};

/// What a fork returns: twice, once in each process.
#[derive(Debug)]
pub enum Fork {
    /// In the process that called it: its new child.
    Parent(ProcessHandle),
    /// In the child.
    Child,
}

/// Forks the calling process: returns twice, in the parent and in the child.
///
/// The child is a copy with one thread. It dies with its parent (death link), is among
/// [`active_children`](crate::active_children), and its parent waits for it at exit. Its own children, locks,
/// thread-locals and queues begin anew, as each of them documents.
///
/// # Errors
/// What fork(2) reports; `EMFILE` before anything has been forked.
///
/// # Safety
/// In a process with other threads the child may only call async-signal-safe functions until it calls exec or
/// `_exit`: any lock may be held for ever by a thread that does not exist in the child.
/// [`Process::fork`](crate::Process::fork) checks that and is safe.
///
/// # Examples
/// ```no_run
/// use proc_core::{Fork, fork};
/// // SAFETY: this program has no other threads.
/// match unsafe { fork() }? {
///     Fork::Parent(child) => println!("I have a child, {}", child.pid()),
///     Fork::Child => println!("I am the child"),
/// }
/// # Ok::<(), proc_core::ProcessError>(())
/// ```
pub unsafe fn fork() -> Result<Fork, ProcessError> {
    let _starting = crate::reaper::starting();
    let identity = ProcessIdentity::of_child(None, false);
    // SAFETY: the caller vouches for what the child does.
    match unsafe { split() }? {
        Split::Parent(started) => {
            Ok(Fork::Parent(ProcessHandle(children::register(started, &identity, None, false, Default::default()))))
        }
        Split::Child(link) => {
            death_link::tie(link).map_err(failed("link the child to its owner's life"))?;
            identity.assume();
            Ok(Fork::Child)
        }
    }
}

/// Forks and runs `target` in the child, which makes the value that is reported.
pub(crate) fn start(
    identity: &ProcessIdentity,
    options: &Options,
    of_options: &[BorrowedFd<'_>],
    target: &mut dyn FnMut(&mut Packed) -> Result<(), CallError>,
) -> Result<(Started, Report), ProcessError> {
    let n_threads = conditions::n_threads()
        .ok_or(Errno::ENOENT)
        .map_err(failed("count this process's threads"))?
        .saturating_sub(helper::count());
    if n_threads > 1 {
        return Err(ProcessError::Multithreaded { n_threads });
    }
    let duplicate = |fd: &BorrowedFd<'_>| fds::duplicate(*fd).map_err(failed("duplicate a descriptor"));
    let (report, childs_report) = Report::pair().map_err(failed("make a socket pair"))?;
    let of_options = of_options.iter().map(duplicate).collect::<Result<_, _>>()?;
    // Made here, where it takes no page faults: each page that the child is the first to touch costs it one.
    let (identity, options) = (identity.clone(), options.clone());
    let (place, childs_report) = (ProcessIdentity::place_for_child(), Box::new(childs_report));
    child::stock_small_blocks();
    // It is flushed at the child's end.
    let _ = std::io::stdout();
    // Signals stay blocked in the child until it can tell of its end.
    let blocked = signals::block_all();
    // SAFETY: there is no other thread but our helpers, which hold no lock that the child needs while it is made.
    match unsafe { split() }? {
        Split::Parent(started) => {
            drop(blocked);
            Ok((started, report))
        }
        Split::Child(link) => {
            death_link::tie(link).map_err(failed("link the child to its owner's life"))?;
            fds::close(report);
            place.settle();
            child::run_closure(childs_report, identity, options, of_options, target)
        }
    }
}

enum Split {
    Parent(Started),
    /// With the pipe that its life hangs on.
    Child(OwnedFd),
}

/// # Safety
/// As [`fork`].
unsafe fn split() -> Result<Split, ProcessError> {
    #[cfg(feature = "confine")]
    if !crate::confine::may_start_processes() {
        return Err(ProcessError::Confined);
    }
    let link = death_link::new_link().map_err(failed("open a pipe"))?;
    // Holds the place of the process descriptor, so that a full table is found out before the fork.
    let place = fds::duplicate(link.as_fd()).map_err(failed("open a process descriptor"))?;
    // Such a child could end, and its pid be another process's, before we have opened it: it waits until we have.
    let gate = signals::children_are_ignored().then(kernel::fds::pipe).transpose();
    let gate = gate.map_err(|source| ProcessError::Start { operation: "make a pipe".into(), source })?;
    // Or the child would have the program's logger, or what else we call for it, locked for ever.
    let turn = match turn::take_to_fork() {
        Waited::Turn(turn) => Some(turn),
        Waited::Mine => None,
        Waited::Stuck => return Err(ProcessError::Multithreaded { n_threads: 2 }),
    };
    // SAFETY: the caller's promise.
    let pid = Errno::result(unsafe { libc::fork() }).map_err(failed("fork"))?;
    if pid == 0 {
        turn.into_iter().for_each(Turn::forget_in_child);
        fds::close(place);
        if let Some((mut go, tell)) = gate {
            drop(tell);
            while go.read(&mut [0]).is_err_and(|e| e.kind() == ErrorKind::Interrupted) {}
        }
        return Ok(Split::Child(link));
    }
    drop((place, turn));
    let pid = pid.cast_unsigned();
    let pidfd = pidfd::open(pid).and_then(|pidfd| match reap::is_ours(pidfd.as_fd()) {
        true => Ok(pidfd),
        // Another thread has reaped it.
        false => Err(Errno::ESRCH),
    });
    if let Some((_go, mut tell)) = gate {
        // Not by closing it alone: another child may have a copy.
        let _ = tell.write(&[0]);
    }
    let pidfd = pidfd.map_err(failed("open a process descriptor (pidfd_open)"))?;
    Ok(Split::Parent(Started { pid, pidfd }))
}
