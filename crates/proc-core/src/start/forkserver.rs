//! Start method `ForkServer`: a helper process forks itself for each child.
//!
//! The helper is this program, executed again and stopped before `main`: small, with one thread, so that a fork costs
//! the same whatever its owner's size and threads. Its children are made as siblings ([`Cloner`]): direct children of
//! the owner, who waits for them and gets their status itself. The helper holds nothing that is not replaceable.
//!
//! Who may die where: the owner (the helper dies with it, by its death link); the helper while idle (the next start
//! finds its socket closed, and starts another); the helper in the middle of a start (the owner finds out from the
//! child's report whether a child runs; if so the start has succeeded, if not the stillborn one is reaped and the
//! start is done again); the child (found out at its join). Nobody waits for anybody who may be stopped for good: a
//! helper that is stopped is replaced.

use std::{
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, poll},
};

use crate::{
    child, death_link,
    error::ProcessError,
    fork_local::ForkLocal,
    report::Report,
    start::{
        Started, failed,
        request::{self, Receiver},
        spawn,
    },
    sys::{
        clone::{Cloned, Cloner},
        fds, pidfd, prefault, proc_fs, reap, seqpacket, signals,
    },
};

static SERVER: ForkLocal<Mutex<Option<Server>>> = ForkLocal::new();

/// How often a start is done again when the helper is killed under it.
const ATTEMPTS: u32 = 3;
/// Without an answer for so many milliseconds, the owner looks whether its helper is stopped.
const PATIENCE: u16 = 1_000;

/// Has the helper make a child that is to serve the message.
pub(crate) fn start(body: &[&[u8]], fds: &[RawFd], report: &Report) -> Result<Started, ProcessError> {
    let mut slot = SERVER.get().lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..ATTEMPTS {
        let server = match slot.take() {
            Some(server) => server,
            None => Server::launch()?,
        };
        match server.request(body, fds) {
            Ok(answer) => {
                *slot = Some(server);
                return answer.map_err(failed("fork in the fork server"));
            }
            Err(NotAnswered::Refused(errno)) => {
                *slot = Some(server);
                return Err(failed("send a request to the fork server")(errno));
            }
            Err(NotAnswered::Lost) => {
                let uncertain = |source| ProcessError::Start { operation: "recover a lost start".into(), source };
                let name = server.end();
                if let Some(pid) = report.give_up().map_err(uncertain)? {
                    let pidfd = pidfd::open(pid).map_err(failed("open a process descriptor"))?;
                    return Ok(Started { pid, pidfd });
                }
                reap_stillborn(&name).map_err(uncertain)?;
                report.offer_again().map_err(uncertain)?;
            }
        }
    }
    Err(ProcessError::LauncherLost)
}

/// Ends the helper, if there is one.
pub(crate) fn stop() {
    if let Some(server) = SERVER.get().lock().unwrap_or_else(PoisonError::into_inner).take() {
        server.end();
    }
}

#[derive(Debug)]
struct Server {
    socket: OwnedFd,
    process: Started,
    /// Its name in `/proc/PID/comm`, which a child bears until it has claimed its report.
    name: String,
}

enum NotAnswered {
    /// The message could not be sent; the helper knows nothing of it.
    Refused(Errno),
    /// The helper is gone, or stopped; nobody knows how far it came.
    Lost,
}

impl Server {
    fn launch() -> Result<Self, ProcessError> {
        static LAUNCHED: AtomicU32 = AtomicU32::new(0);
        let name = format!("forkserver-{}", LAUNCHED.fetch_add(1, Relaxed) % 10_000);
        let (socket, process) = spawn::execute("server")?;
        let server = Self { socket, process, name };
        match spawn::greet(&server.socket, &server.name) {
            // One that is dead already is found out by the first request.
            Ok(()) | Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(server),
            Err(e) => {
                server.end();
                Err(failed("greet the fork server")(e))
            }
        }
    }

    fn request(&self, body: &[&[u8]], fds: &[RawFd]) -> Result<nix::Result<Started>, NotAnswered> {
        // Holds the place of the process descriptor that the answer brings, so that a full table is found out now.
        let place = fds::duplicate(self.socket.as_fd()).map_err(NotAnswered::Refused)?;
        match request::send(self.socket.as_fd(), body, fds) {
            Ok(()) => {}
            Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ENOTCONN) => return Err(NotAnswered::Lost),
            Err(e) => return Err(NotAnswered::Refused(e)),
        }
        self.await_answer()?;
        drop(place);
        self.read_answer().ok_or(NotAnswered::Lost)
    }

    fn await_answer(&self) -> Result<(), NotAnswered> {
        loop {
            let mut fds = [&self.socket, &self.process.pidfd].map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
            match poll(&mut fds, PATIENCE) {
                Ok(0) if proc_fs::is_stopped(self.process.pid) => return Err(NotAnswered::Lost),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) if fds[0].any() == Some(true) => return Ok(()),
                Ok(_) | Err(_) => return Err(NotAnswered::Lost),
            }
        }
    }

    /// `None` if the socket holds no answer but the news that the helper is gone.
    fn read_answer(&self) -> Option<nix::Result<Started>> {
        let (mut answer, mut fds) = ([0; 8], Vec::new());
        let received = seqpacket::receive(self.socket.as_fd(), &mut answer, &mut seqpacket::control_buffer(), &mut fds);
        let [errno @ .., _, _, _, _] = answer;
        let [_, _, _, _, pid @ ..] = answer;
        let (errno, pid) = (i32::from_ne_bytes(errno), u32::from_ne_bytes(pid));
        match (received, fds.pop()) {
            (Ok(8), None) if errno != 0 => Some(Err(Errno::from_raw(errno))),
            (Ok(8), Some(pidfd)) => Some(Ok(Started { pid, pidfd })),
            // Another thread took the place that was held for the descriptor. The child is ours all the same.
            (Err(Errno::EMSGSIZE), _) => {
                let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
                let _ = nix::sys::wait::waitpid(pid, None);
                Some(Err(Errno::EMFILE))
            }
            _ => None,
        }
    }

    /// Ends and reaps the helper; returns its name.
    fn end(self) -> String {
        let _ = pidfd::send_signal(self.process.pidfd.as_fd(), libc::SIGKILL);
        let _ = reap::blocking(&self.process.pidfd);
        self.name
    }
}

/// Kills and reaps the child that a helper of this name may have made without telling, before it has claimed anything.
fn reap_stillborn(name: &str) -> std::io::Result<()> {
    for pid in proc_fs::children_named(name)? {
        if let Ok(pidfd) = pidfd::open(pid)
            && reap::is_ours(pidfd.as_fd())
        {
            let _ = pidfd::send_signal(pidfd.as_fd(), libc::SIGKILL);
            let _ = reap::blocking(&pidfd);
        }
    }
    Ok(())
}

/// The helper's side: forks for each message, until its owner is gone.
pub(crate) fn serve(socket: OwnedFd) -> ! {
    let mut receiver = Receiver::new();
    let (name, link) = spawn::await_greeting(&socket, &mut receiver);
    let ready = death_link::new_link(link.as_fd()).and_then(death_link::tie).and_then(|()| Cloner::new());
    let Ok(cloner) = ready else { child::refuse("a kernel that lacks what a fork server needs") };
    if let Ok(name) = std::ffi::CString::new(name) {
        let _ = nix::sys::prctl::set_name(&name);
    }
    child::warm_up();
    prefault::copy_file_mappings_on_fork();
    // The terminal's signals are for the owner and its children; only SIGKILL ends a helper from outside.
    std::mem::forget(signals::block_all());
    loop {
        // Made while nobody waits; opening a file costs its 10 µs.
        let child_link = death_link::new_link(link.as_fd());
        match receiver.receive(socket.as_fd()) {
            Ok(Some((body, fds))) => match child_link.and_then(|link| Ok((cloner.clone_sibling()?, link))) {
                Ok((Cloned::Child, child_link)) => {
                    drop((socket, link));
                    child::run_request(body, fds, child_link)
                }
                Ok((Cloned::Original { pid, pidfd }, _link)) => answer(&socket, 0, pid, [pidfd.as_raw_fd()]),
                Err(e) => answer(&socket, e as i32, 0, []),
            },
            Err(Errno::EMSGSIZE) => answer(&socket, libc::EMFILE, 0, []),
            Ok(None) | Err(Errno::ECONNRESET) => end(),
            Err(_) => child::refuse("bytes on its socket that are no message of ours"),
        }
        receiver.shrink();
    }
}

/// An owner that is gone needs no answer; the next receive finds that out.
fn answer<const N: usize>(socket: &OwnedFd, errno: i32, pid: i32, pidfd: [RawFd; N]) {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&errno.to_ne_bytes());
    bytes[4..].copy_from_slice(&pid.to_ne_bytes());
    let _ = seqpacket::send_small(socket.as_fd(), &bytes, pidfd);
}

#[allow(clippy::exit, reason = "the end of a helper process")]
fn end() -> ! {
    std::process::exit(0)
}
