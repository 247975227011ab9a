//! Start method `ForkServer`: a helper process forks itself ahead of each start.
//!
//! The helper is this program, executed again and stopped before `main`: small, with one thread, so that a fork costs
//! the same whatever its owner's size and threads. Its children are made as siblings ([`Cloner`]): direct children of
//! the owner, who waits for them and gets their status itself.
//!
//! It keeps [`AHEAD`] children ready, the *spares*, and has told the owner their pids. The owner has made a socket pair
//! for each, and sent one end along with the wish for a spare. To start a process is to ask for another spare, and to
//! send the eldest its request; the work of forking was done before, or goes on meanwhile on another CPU. The spare's
//! value comes back over the same socket.
//!
//! Who may die where: the owner (helper and spares die with it, by their death links); the helper (the next start that
//! needs it finds its socket closed, and executes another; its spares are reaped, known by their name); a spare while
//! idle (its socket is closed: the next one is taken); a spare with its request (found out at its join, like the death
//! of any child). A request is sent to one process only, which is known beforehand, so nothing ever runs twice, or
//! without a handle. Nobody waits for anybody who may be stopped for good: a helper that is stopped is replaced.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, poll},
};

use crate::{
    child,
    children::{self, lock},
    death_link,
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
        pidfd, proc_fs, reap, seqpacket, signals,
    },
};

/// With two, whoever starts one process after another never waits for a fork: while it runs one child, the helper makes
/// the next but one on another CPU. With one, every other fork got in front of the very child that was waited for.
const AHEAD: usize = 2;
/// How often in one start a helper that was killed is replaced.
const ATTEMPTS: u32 = 8;
/// Without an answer for so many milliseconds, the owner looks whether its helper is stopped.
const PATIENCE: u16 = 1_000;

static HELPER: ForkLocal<Mutex<Option<Helper>>> = ForkLocal::new();

/// Holds off all other starts until the child that was started is registered: a child that bears the helper's name
/// and is not registered is taken for a spare that nobody knows of.
#[must_use]
pub(crate) struct Registering {
    _slot: MutexGuard<'static, Option<Helper>>,
}

/// Sends the message to a spare.
pub(crate) fn start(body: &[&[u8]], fds: &[RawFd]) -> Result<(Started, Report, Registering), ProcessError> {
    let mut slot = lock(HELPER.get());
    for _ in 0..ATTEMPTS {
        let mut helper = match slot.take() {
            Some(helper) => helper,
            None => Helper::launch()?,
        };
        match helper.take_spare() {
            Ok(Taken::Spare(spare)) => {
                // The helper before the spare: so it gets the idle CPU, and the spare the one that we are about to leave
                // when we wait for it. The other way round it would share a CPU with the spare, and fork first. If there
                // is no room for another spare now, the next start asks for it.
                let _ = helper.ask_for_spares();
                let sent = spare.send(body, fds);
                *slot = Some(helper);
                if let Some((started, report)) = sent? {
                    return Ok((started, report, Registering { _slot: slot }));
                }
            }
            Ok(Taken::Refused(errno)) => {
                *slot = Some(helper);
                return Err(failed("fork in the fork server")(errno));
            }
            Err(Lost) => {
                let end = helper.end();
                end.map_err(|source| ProcessError::Start { operation: "clear up after a fork server".into(), source })?;
            }
        }
    }
    Err(ProcessError::LauncherLost)
}

/// Reaps the helper if it has ended.
pub(crate) fn tidy() {
    let mut slot = lock(HELPER.get());
    if let Some(helper) = slot.take_if(|helper| pidfd::has_exited(helper.process.pidfd.as_fd())) {
        // What cannot be cleared up now is cleared up by our death.
        let _ = helper.end();
    }
}

/// Ends the helper and its spares, if there are any.
pub(crate) fn stop() {
    if let Some(helper) = lock(HELPER.get()).take() {
        // What cannot be cleared up now is cleared up by our death.
        let _ = helper.end();
    }
}

/// The socket to the helper, if there is one.
#[cfg(test)]
pub(super) fn with_socket(f: impl FnOnce(BorrowedFd<'_>)) {
    if let Some(helper) = &*lock(HELPER.get()) {
        f(helper.socket.as_fd());
    }
}

#[derive(Debug)]
struct Helper {
    socket: OwnedFd,
    process: Started,
    /// Its name in `/proc/PID/comm`, and that of its spares.
    name: String,
    /// Our ends of the sockets of the spares that have been asked for, the eldest first.
    spares: VecDeque<OwnedFd>,
}

/// The helper is gone, or stopped.
struct Lost;

enum Taken {
    Spare(Spare),
    /// There is none, for want of something.
    Refused(Errno),
}

/// A child that waits for its request.
#[derive(Debug)]
struct Spare {
    process: Started,
    socket: OwnedFd,
}

impl Spare {
    /// Gives it its request; `None` if it was found dead.
    fn send(self, body: &[&[u8]], fds: &[RawFd]) -> Result<Option<(Started, Report)>, ProcessError> {
        match request::send(self.socket.as_fd(), body, fds) {
            Ok(()) => Ok(Some((self.process, self.socket.into()))),
            Err(e) => {
                self.process.kill();
                if matches!(e, Errno::EPIPE | Errno::ECONNRESET) { Ok(None) } else { Err(failed("send a request")(e)) }
            }
        }
    }
}

impl Helper {
    fn launch() -> Result<Self, ProcessError> {
        static LAUNCHED: AtomicU32 = AtomicU32::new(0);
        let name = format!("forkserver-{}", LAUNCHED.fetch_add(1, Relaxed) % 10_000);
        let (socket, process) = spawn::execute("server")?;
        let helper = Self { socket, process, name, spares: VecDeque::with_capacity(AHEAD) };
        match spawn::greet(&helper.socket, &helper.name) {
            // One that is dead already is found out when its spare is needed.
            Ok(()) | Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(helper),
            Err(e) => {
                helper.process.kill();
                Err(failed("greet the fork server")(e))
            }
        }
    }

    fn ask_for_spares(&mut self) -> nix::Result<()> {
        while self.spares.len() < AHEAD {
            let (ours, spares) = seqpacket::pair()?;
            match seqpacket::send_small(self.socket.as_fd(), &[0], &[spares.as_raw_fd()]) {
                // A helper that is dead is found out when the spare is needed.
                Ok(()) | Err(Errno::EPIPE | Errno::ECONNRESET) => self.spares.push_back(ours),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// The eldest of the spares that it keeps ready; waits for one that is being made.
    fn take_spare(&mut self) -> Result<Taken, Lost> {
        if self.spares.is_empty()
            && let Err(e) = self.ask_for_spares()
            && self.spares.is_empty()
        {
            return Ok(Taken::Refused(e));
        }
        let mut news = [0; NEWS_BYTES];
        let mut received = seqpacket::receive_small(self.socket.as_fd(), &mut news, false);
        if matches!(received, Err(Errno::EAGAIN)) {
            self.await_news()?;
            received = seqpacket::receive_small(self.socket.as_fd(), &mut news, false);
        }
        let (Ok((NEWS_BYTES, None)), Some(socket)) = (received, self.spares.pop_front()) else { return Err(Lost) };
        let (errno, pid) = parse_news(news);
        if errno != 0 {
            return Ok(Taken::Refused(Errno::from_raw(errno)));
        }
        match pidfd::open(pid) {
            // It is the spare's: if the spare had ended, and its pid were another's by now, its socket would refuse the
            // request.
            Ok(pidfd) => Ok(Taken::Spare(Spare { process: Started { pid, pidfd }, socket })),
            // It is ours, and nobody else reaps it.
            Err(e) => {
                let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
                let _ = nix::sys::wait::waitpid(pid, None);
                Ok(Taken::Refused(e))
            }
        }
    }

    fn await_news(&self) -> Result<(), Lost> {
        loop {
            let mut fds = [&self.socket, &self.process.pidfd].map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
            match poll(&mut fds, PATIENCE) {
                Ok(0) if proc_fs::is_stopped(self.process.pid) => return Err(Lost),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) if fds[0].any() == Some(true) => return Ok(()),
                Ok(_) | Err(_) => return Err(Lost),
            }
        }
    }

    /// Ends and reaps the helper and its spares, also one that it made without a chance to tell.
    fn end(self) -> io::Result<()> {
        self.process.kill();
        for pid in proc_fs::children_named(&self.name)? {
            if !children::is_registered(pid)
                && let Ok(pidfd) = pidfd::open(pid)
                && reap::is_ours(pidfd.as_fd())
            {
                Started { pid, pidfd }.kill();
            }
        }
        Ok(())
    }
}

const NEWS_BYTES: usize = 8;

fn parse_news(news: [u8; NEWS_BYTES]) -> (i32, u32) {
    let [errno @ .., _, _, _, _] = news;
    let [_, _, _, _, pid @ ..] = news;
    (i32::from_ne_bytes(errno), u32::from_ne_bytes(pid))
}

/// An owner that cannot be told is gone, or would wait for good: it must see an end then, and launches another helper.
fn tell(owner: &OwnedFd, errno: i32, pid: i32) {
    let mut news = [0; NEWS_BYTES];
    news[..4].copy_from_slice(&errno.to_ne_bytes());
    news[4..].copy_from_slice(&pid.to_ne_bytes());
    if seqpacket::send_small(owner.as_fd(), &news, &[]).is_err() {
        child::end_silently();
    }
}

/// The helper's side: makes a spare each time it is asked to, until its owner is gone.
pub(crate) fn serve(owner: OwnedFd) -> ! {
    let mut receiver = Receiver::new();
    let (name, link) = spawn::await_greeting(&owner, &mut receiver);
    let ready = death_link::new_link(link.as_fd()).and_then(death_link::tie).and_then(|()| Cloner::new());
    let Ok(cloner) = ready else { child::refuse("a kernel that lacks what a fork server needs") };
    if let Ok(name) = std::ffi::CString::new(name) {
        let _ = nix::sys::prctl::set_name(&name);
    }
    child::warm_up();
    // The terminal's signals are for the owner and its children; only SIGKILL ends a helper from outside.
    std::mem::forget(signals::block_all());
    loop {
        let made = match seqpacket::receive_small(owner.as_fd(), &mut [0], true) {
            Ok((1, Some(socket))) => make_spare(&cloner, socket, link.as_fd()),
            Err(Errno::EMSGSIZE) => Err(Errno::EMFILE),
            _ => child::end_silently(),
        };
        match made {
            Ok(Made::Spare { pid }) => tell(&owner, 0, pid),
            Ok(Made::Myself { socket, link: own_link }) => {
                drop((owner, link));
                be_spare(socket, own_link, receiver)
            }
            Err(e) => tell(&owner, e as i32, 0),
        }
    }
}

enum Made {
    Spare { pid: i32 },
    Myself { socket: OwnedFd, link: OwnedFd },
}

fn make_spare(cloner: &Cloner, socket: OwnedFd, link: BorrowedFd<'_>) -> nix::Result<Made> {
    let link = death_link::new_link(link)?;
    Ok(match cloner.clone_sibling()? {
        Cloned::Original { pid } => Made::Spare { pid },
        Cloned::Child => Made::Myself { socket, link },
    })
}

/// The spare's side.
fn be_spare(socket: OwnedFd, link: OwnedFd, mut receiver: Receiver) -> ! {
    if death_link::tie(link).is_err() {
        child::refuse("a link to its owner's life that does not hold")
    }
    child::rehearse();
    match receiver.receive(socket.as_fd()) {
        Ok(Some((body, fds))) => child::run_request(socket, body, fds),
        // Nobody needs it any more.
        Ok(None) | Err(Errno::ECONNRESET) => child::end_silently(),
        Err(Errno::EMSGSIZE) => child::refuse("more descriptors than it may have open"),
        Err(_) => child::refuse("bytes on its socket that are no message of ours"),
    }
}
