//! Being process 1.
//!
//! # Safety
//! `waitpid` writes to an integer of ours. (nix's own knows no real-time signals.) A forked child makes one system call before
//! it executes a program.
#![allow(unsafe_code)]

use std::{
    io,
    os::{
        fd::AsFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Command, ExitStatus},
};

use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::{SigSet, SigmaskHow, Signal, pthread_sigmask},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::Pid,
};

use kernel::sys::{fds, pidfd};

/// Runs a command as process 1 of a container should: passes signals on to it, reaps every orphan, and returns how it
/// ended.
///
/// For a program that does nothing else: **all** children of the calling process are reaped, whichever code started them. It
/// need not be process 1; otherwise it adopts the orphans among its own descendants. A signal that the terminal sent to
/// the whole process group is not passed on, because the command had it already. The kernel kills all other processes in the
/// container when this program exits.
///
/// Call it in a program with one thread: the signals are blocked in this one.
///
/// # Errors
/// If the command cannot be started.
///
/// # Examples
/// ```
/// use std::process::Command;
/// let status = proc_core::reaper::init(Command::new("sh").args(["-c", "sleep 0.01 & exit 3"]))?;
/// assert_eq!(status.code(), Some(3));
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "tini")]
pub fn init(command: &mut Command) -> io::Result<ExitStatus> {
    prctl::set_child_subreaper(true)?;
    let mut former = SigSet::empty();
    // Also keeps those for process 1 whose default would be to end it, which the kernel drops if they are not blocked.
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut former))?;
    let outcome = run(command, former);
    let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&former), None);
    outcome
}

/// `mask` is the command's.
fn run(command: &mut Command, mask: SigSet) -> io::Result<ExitStatus> {
    // What is opened here is not to become the command's standard streams.
    let occupied = fds::Occupied::new()?;
    let signals = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC)?;
    // A child of std's inherits the mask, and a program that does not look at it would be deaf to what is passed on.
    let unblock = move || Ok(pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&mask), None)?);
    // SAFETY: one system call, which may be made in a forked child.
    let child = unsafe { command.pre_exec(unblock) }.spawn()?;
    let pidfd = pidfd::open(child.id())?;
    drop(occupied);
    let child = Pid::from_raw(child.id().cast_signed());
    loop {
        if let Some(status) = reap_all(child)? {
            return Ok(status);
        }
        let info = match signals.read_signal() {
            Ok(Some(info)) => info,
            Ok(None) | Err(Errno::EINTR) => continue,
            Err(e) => return Err(e.into()),
        };
        let signal = info.ssi_signo.cast_signed();
        let from_terminal = info.ssi_code == libc::SI_KERNEL && signal != libc::SIGHUP;
        if signal != Signal::SIGCHLD as i32 && !from_terminal {
            let _ = pidfd::send_signal(pidfd.as_fd(), signal);
        }
    }
}

/// Reaps all that have ended; the status of `child` if it is one of them.
fn reap_all(child: Pid) -> io::Result<Option<ExitStatus>> {
    let mut found = None;
    loop {
        let mut status = 0;
        // SAFETY: `status` is writable.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        match Errno::result(pid) {
            Ok(pid) if pid == child.as_raw() => found = Some(ExitStatus::from_raw(status)),
            Ok(0) | Err(Errno::ECHILD) => return Ok(found),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}
