//! The three processes: the launcher, the one between, and the daemon.
//!
//! All words travel over one pair of sockets. The launcher has one end; the daemon speaks into the other, and the
//! process between as well: it is the daemon's parent for as long as the launcher waits, so that its exit status is known
//! and no other process can get its pid. It ends when the launcher closes its end, and leaves the daemon to `init`; told
//! to [`GIVE_UP`], it ends the daemon first.
//!
//! # Safety
//! Forks a process that has one thread, or only helper threads which hold no locks that a copy needs.
#![allow(unsafe_code)]

use std::{
    io::{self, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    process::ExitStatus,
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll, ppoll},
    unistd::{ForkResult, Pid, fork, setsid},
};

use super::{
    DaemonError, Daemonize, Daemonized, Ready,
    error::DaemonFailure,
    ready::{LONGEST_WORD, Word},
    setup::Plan,
};
use kernel::{
    futex::Deadline,
    helper,
    sys::{pidfd, proc_fs, reap, seqpacket, signals},
};

const GIVE_UP: &[u8] = b"give up";
/// How long a daemon that has failed may take to end by itself.
const GRACE: Duration = Duration::from_secs(2);

pub(super) fn start(wanted: Daemonize) -> Result<Daemonized, DaemonError> {
    let failed = |operation: &str| {
        let operation = operation.to_owned();
        move |source: io::Error| DaemonError::System { operation, source }
    };
    let ready_timeout = wanted.ready_timeout;
    let plan = Plan::of(wanted)?;
    let (here, there) = seqpacket::pair().map_err(|e| failed("make a pair of sockets")(e.into()))?;
    // What is buffered must not be written by both.
    io::stdout().flush().map_err(failed("flush standard output"))?;
    let n_threads = proc_fs::thread_count().map_err(failed("count threads"))?.saturating_sub(helper::count());
    if n_threads > 1 {
        return Err(DaemonError::Multithreaded { n_threads });
    }
    // SAFETY: there is no other thread but our helpers.
    match unsafe { fork() }.map_err(|e| failed("fork")(e.into()))? {
        ForkResult::Parent { child } => {
            drop((there, plan));
            let awaited = await_ready(here, ready_timeout);
            let _ = wait_for(child);
            awaited.map(|pid| Daemonized::Launcher { pid })
        }
        ForkResult::Child => {
            drop(here);
            between(plan, there)
        }
    }
}

/// The launcher: listens until it is clear what becomes of the daemon.
fn await_ready(channel: OwnedFd, timeout: Option<Duration>) -> Result<u32, DaemonError> {
    let mut deadline = timeout.and_then(Deadline::after);
    let mut too_late = DaemonError::TimedOut;
    let error = loop {
        match hear(&channel, deadline) {
            Ok(Some(Word::Ready { pid })) => return Ok(pid),
            Ok(Some(Word::Failed(failure))) => break failure.into(),
            // An exit may be on its way, and says more.
            Ok(Some(Word::Dropped)) => (deadline, too_late) = (Deadline::after(GRACE), DaemonError::NeverReady),
            Ok(Some(Word::Ended { wait_status })) => {
                break DaemonError::Ended { status: Some(ExitStatus::from_raw(wait_status)) };
            }
            Ok(None) => break too_late,
            Err(Errno::ECONNRESET) => break DaemonError::Ended { status: None },
            Err(e) => break DaemonError::System { operation: "wait for the daemon".into(), source: e.into() },
        }
    };
    let _ = seqpacket::send_bytes(channel.as_fd(), GIVE_UP, &[]);
    Err(error)
}

/// The next word; `None` if the deadline passes before, `ECONNRESET` if no process is left to say one.
fn hear(channel: &OwnedFd, deadline: Option<Deadline>) -> nix::Result<Option<Word>> {
    loop {
        let mut fds = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut fds, deadline.map(|d| d.remaining().into()), None) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
    }
    let mut buffer = [0; LONGEST_WORD];
    match seqpacket::receive(channel.as_fd(), &mut buffer, &mut Vec::new())? {
        0 => Err(Errno::ECONNRESET),
        n => wire::decode(&buffer[..n]).map(Some).map_err(|_| Errno::EBADMSG),
    }
}

/// The process between; returns in the daemon only.
fn between(plan: Plan, channel: OwnedFd) -> Result<Daemonized, DaemonError> {
    // The session's leader is never the daemon, which therefore cannot get a terminal.
    let begun = setsid().map_err(DaemonFailure::system("make a session"));
    // SAFETY: this process is a fork of one thread, so it has one.
    match begun.and_then(|_| unsafe { fork() }.map_err(DaemonFailure::system("fork"))) {
        Ok(ForkResult::Child) => {
            let ready = Ready::new(channel);
            match plan.apply() {
                Ok(()) => Ok(Daemonized::Daemon(ready)),
                Err(failure) => {
                    ready.refuse(failure);
                    end(1)
                }
            }
        }
        Ok(ForkResult::Parent { child }) => {
            drop(plan);
            // The launcher's signals are not for it; it ends when the launcher does.
            std::mem::forget(signals::block_all());
            watch(child, &channel);
            end(0)
        }
        Err(failure) => {
            Word::Failed(failure).say(&channel);
            end(1)
        }
    }
}

/// Is the daemon's parent until the launcher has heard enough.
fn watch(daemon: Pid, channel: &OwnedFd) {
    let Ok(pidfd) = pidfd::open(daemon.as_raw().cast_unsigned()) else { return };
    let mut ended = false;
    loop {
        let mut fds = [PollFd::new(channel.as_fd(), PollFlags::POLLIN), PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        let fds = if ended { &mut fds[..1] } else { &mut fds[..] };
        if poll(fds, PollTimeout::NONE).is_err() {
            continue;
        }
        if fds[0].any() == Some(true) {
            let heard = seqpacket::receive(channel.as_fd(), &mut [0; 16], &mut Vec::new());
            if heard == Ok(GIVE_UP.len()) && !ended {
                if !matches!(pidfd::wait_exit(pidfd.as_fd(), Deadline::after(GRACE)), Ok(true)) {
                    let _ = pidfd::send_signal(pidfd.as_fd(), libc::SIGKILL);
                }
                let _ = reap::blocking(&pidfd);
            }
            return;
        }
        // Where the program ignores its children, the kernel has reaped it, and may have kept how it ended.
        match reap::blocking(&pidfd).ok().or_else(|| pidfd::kept_status(pidfd.as_fd())) {
            Some(status) => Word::Ended { wait_status: status.into_raw() }.say(channel),
            // The launcher sees that no process is left to say a word.
            None => return,
        }
        ended = true;
    }
}

fn wait_for(between: Pid) -> nix::Result<()> {
    let pidfd = pidfd::open(between.as_raw().cast_unsigned())?;
    reap::blocking(&pidfd).map(drop)
}

/// Ends a process that is a copy of its parent, without running what the parent is to run at its end.
fn end(code: i32) -> ! {
    // SAFETY: ends this process.
    unsafe { libc::_exit(code) }
}
