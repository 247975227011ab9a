//! What a fork server loads before it makes children.
//!
//! Its owner sends it a function, arguments, and a report's socket, and waits until it says that it has loaded. The report is
//! that of any child that runs a function: whether the loader panics, exits or crashes, it is found there after the
//! server's end. There is no spare yet, so a server that dies while it loads takes nothing along.
//!
//! Then the server moves what it has loaded into a memory file ([`shared_heap`]), since a fork copies page tables.

use std::{
    io::Write,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
};

use super::{
    helper::{Helper, MOMENT},
    protocol::LOAD,
};
use crate::{
    child, crash,
    error::{PreloadError, ProcessError},
    function::Function,
    image::Image,
    outcome,
    report::{Failure, Report},
    start::{
        failed,
        plain::{Plain, plain},
        request::{self, Receiver},
    },
};
use kernel::{
    futex::Deadline,
    handover::Packed,
    sys::{at_exit, pidfd, proc_fs, reap, seqpacket, shared_heap, signals},
};

/// What a server does before it makes children; nothing, without a loader.
#[derive(Debug)]
pub(crate) struct Preload {
    pub(crate) loader: Option<Loader>,
    /// How long the loader may take.
    pub(crate) limit: Duration,
}

/// A function, and its arguments, which are sent to each server that takes another one's place.
#[derive(Debug)]
pub(crate) struct Loader {
    pub(crate) function: Function,
    pub(crate) args: Packed,
}

/// What is sent. The packed arguments follow it. The first of the descriptors is the report's socket, then come theirs.
struct Load {
    fingerprint: u64,
    function: Option<Function>,
}
plain!(Load { fingerprint, function });

/// Has the helper load, and waits until it has.
pub(super) fn load(mut helper: Helper, plan: &Preload) -> Result<Helper, ProcessError> {
    let deadline = Deadline::after(plan.limit);
    let report = match send(&helper, plan) {
        Ok(report) => report,
        Err(e) => {
            let _ = helper.end();
            return Err(failed("have a fork server load")(e));
        }
    };
    if !has_news(&helper, deadline) {
        let _ = helper.end();
        return Err(PreloadError::TimedOut { limit: plan.limit }.into());
    }
    if let Ok((0, None)) = helper.news() {
        return Ok(helper);
    }
    let error = match status(&helper) {
        Some(status) => {
            let left = report.read(status.signal().is_some());
            match outcome::value_of(&helper.name, helper.process.pid, status, left) {
                Err(e @ ProcessError::Preload(_)) => e,
                Err(e) => PreloadError::Ended(Box::new(e)).into(),
                Ok(_) => ProcessError::LauncherLost,
            }
        }
        None => ProcessError::LauncherLost,
    };
    let _ = helper.end();
    Err(error)
}

/// Whether that is the error of a server that was killed, or of one whose status is not known, since a debugger has it.
pub(super) fn was_killed(error: &ProcessError) -> bool {
    match error {
        ProcessError::Preload(PreloadError::Ended(e)) => {
            matches!(**e, ProcessError::Signaled { signal: libc::SIGKILL, .. })
        }
        ProcessError::LauncherLost => true,
        _ => false,
    }
}

fn send(helper: &Helper, plan: &Preload) -> nix::Result<Report> {
    let (ours, theirs) = Report::pair()?;
    let mut packed = Vec::new();
    Load { fingerprint: Image::get().fingerprint, function: plan.loader.as_ref().map(|loader| loader.function) }
        .put(&mut packed);
    let (args, handed_over) = plan.loader.as_ref().map_or((&[][..], Vec::new()), |loader| {
        (&loader.args.bytes[..], loader.args.fds().iter().map(AsRawFd::as_raw_fd).collect::<Vec<RawFd>>())
    });
    let fds = [&[theirs.as_fd().as_raw_fd()], &handed_over[..]].concat();
    let sent = seqpacket::send_bytes(helper.socket.as_fd(), &[LOAD], &[])
        .and_then(|()| request::send(helper.socket.as_fd(), &[&packed, args], &fds));
    match sent {
        // One that is dead already is found out by whoever waits for it.
        Ok(()) | Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(ours),
        Err(e) => Err(e),
    }
}

/// Waits until it has said something, or has ended; false if the deadline passes before.
fn has_news(helper: &Helper, deadline: Option<Deadline>) -> bool {
    loop {
        let mut fds = [&helper.socket, &helper.process.pidfd].map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
        match ppoll(&mut fds, deadline.map(|deadline| deadline.remaining().into()), None) {
            Ok(0) => return false,
            Err(Errno::EINTR) => {}
            Ok(_) | Err(_) => return true,
        }
    }
}

/// How it has ended; it is about to.
fn status(helper: &Helper) -> Option<ExitStatus> {
    let pidfd = helper.process.pidfd.as_fd();
    match pidfd::wait_exit(pidfd, Deadline::after(MOMENT)) {
        Ok(true) => reap::now(pidfd).ok().flatten().or_else(|| pidfd::kept_status(pidfd)),
        _ => None,
    }
}

/// The server's side: does what it is told in the next message, or ends. Its owner is to be told when this has returned.
pub(super) fn serve(owner: &OwnedFd, receiver: &mut Receiver) {
    let (body, mut fds) = match receiver.receive(owner.as_fd()) {
        Ok(Some((body, fds))) if !fds.is_empty() => (body, fds),
        Ok(None) | Err(Errno::ECONNRESET) => child::end_silently(),
        Ok(Some(_)) | Err(_) => child::refuse("bytes on its socket that are no message of ours"),
    };
    let mut args = body;
    let Some(Load { fingerprint, function }) = Load::take(&mut args) else {
        child::refuse("a request that does not decode")
    };
    if fingerprint != Image::get().fingerprint {
        child::refuse("a request from another build of this program");
    }
    // Open to the end, for a crash.
    let report: &'static Report = Box::leak(Box::new(Report::from(fds.remove(0))));
    let Some(function) = function else { return };
    crash::handler::arm(report.as_fd());
    let gathering = shared_heap::Gathering::begin();
    signals::unblock_all();
    let loaded = function.call(args, fds, &mut Packed::default());
    std::mem::forget(signals::block_all());
    drop(gathering);
    crash::handler::disarm();
    if let Err(e) = loaded {
        child::fail(report, e);
    }
    // Or each child would print what it finds there.
    let _ = std::io::stdout().flush();
    at_exit::flush_streams();
    let threads = threads_left();
    if !threads.is_empty() {
        child::fail_by(report, &Failure::Threads(threads));
    }
    if let Err(shared_heap::HeapLost(errno)) = shared_heap::share() {
        child::fail_by(report, &Failure::Setup("move what was loaded into a memory file".into(), errno as i32));
    }
}

/// The names of the threads that are still there, beside this one.
fn threads_left() -> Vec<String> {
    // One that has been joined is in `/proc` for a moment longer.
    let deadline = Deadline::after(MOMENT);
    loop {
        let names = proc_fs::other_threads();
        if names.is_empty() || deadline.is_none_or(|deadline| deadline.has_passed()) {
            return names;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
