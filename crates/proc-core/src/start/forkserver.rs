//! Start method `ForkServer`: a helper process forks itself ahead of each start.
//!
//! The helper is this program, executed again and stopped before `main`: small, with one thread, so that a fork costs
//! the same whatever its owner's size and threads. Its children are made as siblings ([`Cloner`]): direct children of
//! the owner, who waits for them and gets their status itself.
//!
//! It keeps [`AHEAD`] children ready, the *spares*, and has told the owner their pids, with the descriptors that the kernel
//! gave it for them when it made them: so no signal reaches another process that has got such a pid, whoever reaps the
//! owner's children. With them comes the owner's end of a socket pair, whose other end the spare has. To start a process is
//! to ask for another spare, and to send the eldest its request; the work of forking was done before, or goes on meanwhile
//! on another CPU. The spare's value comes back over the same socket.
//!
//! What its owner has changed since then ([`conditions`]) comes with the request. What cannot, is told to the helper, which
//! takes over its owner's root directory and rights, so that it never has more than its owner for longer than until the
//! next start; or the helper is replaced. Its spares, which have what it had before, are ended.
//!
//! Who may die where: the owner (helper and spares die with it, by their death links); the helper (the next start that
//! needs it finds its socket closed, and executes another; its spares are reaped, known by their name); a spare while
//! idle (its socket is closed: the next one is taken); a spare with its request (found out at its join, like the death
//! of any child). A request is sent to one process only, which is known beforehand, so nothing ever runs twice, or
//! without a handle. Nobody waits for anybody who may be stopped for good: a helper that is stopped, or says nothing for
//! 5 seconds (frozen), is replaced. A helper or
//! spare that waits for too long closes its socket for receiving, does what has come until then, and ends.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    process::ExitStatus,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    poll::{PollFd, PollFlags, poll},
    sys::stat::Mode,
    unistd,
};

use crate::{
    child, children, death_link,
    error::ProcessError,
    exit::{self, Stage},
    lock::lock,
    report::Report,
    start::{
        Started,
        conditions::{self, Conditions, Inherited},
        failed, leaving,
        plain::Plain,
        request::{self, Receiver},
        spawn::{self, Greeting},
    },
};
use kernel::{
    fds::above_standard_streams,
    fork_local::ForkLocal,
    futex::Deadline,
    sys::{
        attributes,
        clone::{Cloned, Cloner},
        credentials, death_signal, fds, memfd, pidfd, proc_fs, reap, seqpacket, signals,
    },
};

/// With two, whoever starts one process after another never waits for a fork: while it runs one child, the helper makes
/// the next but one on another CPU. With one, every other fork got in front of the very child that was waited for.
const AHEAD: usize = 2;
/// How often in one start a helper that was killed is replaced.
const ATTEMPTS: u32 = 8;
/// Without an answer for so many milliseconds, the owner looks whether its helper is stopped.
const PATIENCE: u16 = 1_000;
/// After so many times it is given up: a frozen one cannot be told from one that is slow.
const PATIENCES: u32 = 5;

/// How many seconds a helper, or a spare, waits for its owner to start something. Then it ends: a host that waits for all its
/// children is not to wait for those that it does not know of. The next start makes others.
const IDLE: i64 = 10;
/// Long between two steps of a process's end.
const MOMENT: Duration = Duration::from_secs(1);

static HELPER: ForkLocal<Mutex<Option<Helper>>> = ForkLocal::new();

/// Holds off all other starts until the child that was started is registered: a child that bears the helper's name
/// and is not registered is taken for a spare that nobody knows of.
#[must_use]
pub(crate) struct Registering {
    _slot: MutexGuard<'static, Option<Helper>>,
}

/// Sends the message to a spare. `None` where children are to be in another pid namespace than this process: a helper there
/// cannot make siblings of itself.
pub(crate) fn start(body: &[&[u8]], fds: &[RawFd]) -> Result<Option<(Started, Report, Registering)>, ProcessError> {
    let mut slot = lock(HELPER.get());
    let before = slot.as_ref().map(|helper| &helper.conditions);
    let mut now = Conditions::now(before);
    if now.fixed.sandbox.has_other_pids() {
        return Ok(None);
    }
    for _ in 0..ATTEMPTS {
        let mut helper = match slot.take() {
            Some(mut helper) => match helper.keep_up(&mut now) {
                Ok(()) => helper,
                Err(Lost) => {
                    let _ = helper.end();
                    continue;
                }
            },
            None => Helper::launch(&now)?,
        };
        match helper.take_spare() {
            Ok(Taken::Spare(spare)) => {
                // The helper before the spare: so it gets the idle CPU, and the spare the one that we are about to leave
                // when we wait for it. The other way round it would share a CPU with the spare, and fork first.
                let _ = helper.ask_for_spares();
                let inherited = now.since(&helper.conditions);
                *slot = Some(helper);
                let sent = spare.send(inherited, body, fds);
                if let Some((started, report)) = sent? {
                    return Ok(Some((started, report, Registering { _slot: slot })));
                }
            }
            Ok(Taken::Refused(errno)) => {
                *slot = Some(helper);
                return Err(failed("fork in the fork server")(errno));
            }
            Err(Lost) => {
                // One that fails by itself would do so again. That it is killed, or ends because it was idle, is chance.
                if let Some(status) = helper.end().filter(|status| status.code().is_some_and(|code| code != 0)) {
                    let source = io::Error::other(spawn::NotThisProgram(status));
                    return Err(ProcessError::Start { operation: "start the fork server".into(), source });
                }
            }
        }
    }
    Err(ProcessError::LauncherLost)
}

/// Reaps the helper if it has ended.
pub(crate) fn tidy() {
    let mut slot = lock(HELPER.get());
    if let Some(helper) = slot.take_if(|helper| pidfd::has_exited(helper.process.pidfd.as_fd())) {
        let _ = helper.end();
    }
    drop(slot);
    leaving::reap();
}

/// Ends the helper and its spares, if there are any; at this process's exit at the latest.
pub(crate) fn stop() {
    if let Some(helper) = lock(HELPER.get()).take() {
        let _ = helper.end();
    }
}

/// The socket to the helper, if there is one.
#[cfg(test)]
pub(super) fn with_socket(f: impl FnOnce(std::os::fd::BorrowedFd<'_>)) {
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
    /// How many spares have been asked for, and not taken.
    n_spares: usize,
    /// What its children have.
    conditions: Conditions,
    /// Its mount namespace.
    mounts: Option<u64>,
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
    fn send(
        self,
        inherited: nix::Result<Option<(Inherited, Vec<OwnedFd>)>>,
        body: &[&[u8]],
        fds: &[RawFd],
    ) -> Result<Option<(Started, Report)>, ProcessError> {
        let sent = match inherited {
            Ok(None) => request::send(self.socket.as_fd(), &[&[conditions::INHERITS_NOTHING], body].concat(), fds),
            Ok(Some((inherited, given))) => {
                let mut packed = Vec::new();
                Some(inherited).put(&mut packed);
                let given = given.iter().map(AsRawFd::as_raw_fd);
                let fds: Vec<RawFd> = given.chain(fds.iter().copied()).collect();
                request::send(self.socket.as_fd(), &[&[&packed[..]], body].concat(), &fds)
            }
            Err(e) => Err(e),
        };
        match sent {
            Ok(()) => Ok(Some((self.process, self.socket.into()))),
            Err(e) => {
                self.process.kill();
                if matches!(e, Errno::EPIPE | Errno::ECONNRESET) { Ok(None) } else { Err(failed("send a request")(e)) }
            }
        }
    }
}

impl Helper {
    fn launch(now: &Conditions) -> Result<Self, ProcessError> {
        exit::register(Stage::ForkServer, stop);
        leaving::reap();
        static LAUNCHED: AtomicU32 = AtomicU32::new(0);
        let name = format!("forkserver-{}", LAUNCHED.fetch_add(1, Relaxed) % 10_000);
        let (socket, process) = spawn::execute("server")?;
        let helper =
            Self { socket, process, name, n_spares: 0, conditions: now.clone(), mounts: conditions::mount_namespace() };
        match spawn::greet(&helper.socket, &helper.name) {
            // One that is dead already is found out when its spare is needed.
            Ok(()) | Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(helper),
            Err(e) => {
                helper.process.kill();
                Err(failed("greet the fork server")(e))
            }
        }
    }

    /// Sees to it that its children will have what this process has now, but for what comes with their requests.
    fn keep_up(&mut self, now: &mut Conditions) -> Result<(), Lost> {
        now.fixed.sandbox.assume_unknown(&self.conditions.fixed.sandbox);
        if now.fixed != self.conditions.fixed {
            self.conform(now)?;
        }
        if now.mark != self.conditions.mark {
            self.conditions.take_over(now);
        }
        if now.can_hand_down_dir(&self.conditions) { Ok(()) } else { Err(Lost) }
    }

    /// Has it take over the root directory and the rights, as far as these are all that is different.
    fn conform(&mut self, now: &Conditions) -> Result<(), Lost> {
        let has_other_root = now.fixed.root != self.conditions.fixed.root;
        // Asked for where the root is another one only: in another mount namespace it is.
        let has_other_mounts = || conditions::mount_namespace().is_some_and(|mounts| Some(mounts) != self.mounts);
        if now.fixed.sandbox != self.conditions.fixed.sandbox
            || now.fixed.rights.is_empty()
            || has_other_root && has_other_mounts()
        {
            return Err(Lost);
        }
        // They have what it had before.
        while self.n_spares > 0 {
            self.discard_spare()?;
        }
        if has_other_root {
            let root = open("/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
            let root = root.and_then(above_standard_streams).map_err(|_| Lost)?;
            self.tell(ROOT, root)?;
            self.conditions.enter_root(now);
        }
        if now.fixed.rights != self.conditions.fixed.rights {
            let rights = memfd::holding("proc-core-rights", &[&now.fixed.rights]).map_err(|_| Lost)?;
            self.tell(RIGHTS, rights.into())?;
        }
        self.conditions.take_over(now);
        Ok(())
    }

    /// Tells it something, and waits until it has done it.
    fn tell(&mut self, what: u8, with: OwnedFd) -> Result<(), Lost> {
        seqpacket::send_small(self.socket.as_fd(), &[what], &[with.as_raw_fd()]).map_err(|_| Lost)?;
        match self.news()? {
            (0, None) => Ok(()),
            _ => Err(Lost),
        }
    }

    fn discard_spare(&mut self) -> Result<(), Lost> {
        if let Taken::Spare(spare) = self.take_made_spare()? {
            // It ends when its socket is closed, also where we may not kill it.
            drop(spare.socket);
            spare.process.kill();
        }
        Ok(())
    }

    /// What it has to say, and the spare that it has made; waits for it.
    fn news(&mut self) -> Result<(i32, Option<Spare>), Lost> {
        let mut news = [0; NEWS_BYTES];
        let mut received = seqpacket::receive_few(self.socket.as_fd(), &mut news, false);
        if matches!(received, Err(Errno::EAGAIN)) {
            self.await_news()?;
            received = seqpacket::receive_few(self.socket.as_fd(), &mut news, false);
        }
        let Ok((NEWS_BYTES, [pidfd, socket])) = received else { return Err(Lost) };
        let (errno, pid) = parse_news(news);
        let spare = pidfd.zip(socket).map(|(pidfd, socket)| Spare { process: Started { pid, pidfd }, socket });
        Ok((errno, spare))
    }

    fn ask_for_spares(&mut self) -> nix::Result<()> {
        while self.n_spares < AHEAD {
            match seqpacket::send_small(self.socket.as_fd(), &[SPARE], &[]) {
                // A helper that is dead is found out when the spare is needed.
                Ok(()) | Err(Errno::EPIPE | Errno::ECONNRESET) => self.n_spares += 1,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// The eldest of the spares that it keeps ready; waits for one that is being made.
    fn take_spare(&mut self) -> Result<Taken, Lost> {
        if self.n_spares == 0
            && let Err(e) = self.ask_for_spares()
            && self.n_spares == 0
        {
            return Ok(Taken::Refused(e));
        }
        // For the spare's descriptors: if there are none, the spare is another start's.
        let places = [(); 2].map(|()| fds::duplicate(self.socket.as_fd()));
        if let Some(Err(e)) = places.iter().find(|place| place.is_err()) {
            return Ok(Taken::Refused(*e));
        }
        drop(places);
        self.take_made_spare()
    }

    /// As [`take_spare`](Self::take_spare), if one has been asked for.
    fn take_made_spare(&mut self) -> Result<Taken, Lost> {
        let (errno, spare) = self.news()?;
        self.n_spares = self.n_spares.checked_sub(1).ok_or(Lost)?;
        match spare {
            Some(spare) => Ok(Taken::Spare(spare)),
            None if errno != 0 => Ok(Taken::Refused(Errno::from_raw(errno))),
            None => Err(Lost),
        }
    }

    fn await_news(&self) -> Result<(), Lost> {
        for _ in 0..PATIENCES {
            let mut fds = [&self.socket, &self.process.pidfd].map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
            match poll(&mut fds, PATIENCE) {
                Ok(0) if proc_fs::is_stopped(self.process.pid) => return Err(Lost),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) if fds[0].any() == Some(true) => return Ok(()),
                Ok(_) | Err(_) => return Err(Lost),
            }
        }
        // Frozen, with all of its control group.
        Err(Lost)
    }

    /// Ends and reaps the helper and its spares, also one that it made without a chance to tell. What cannot be cleared up now
    /// ends by itself, since its socket is closed. Returns how the helper ended if it did so by itself.
    fn end(self) -> Option<ExitStatus> {
        let Self { socket, process, name, .. } = self;
        // Its end is a moment later than that of its socket.
        let ends = seqpacket::has_hung_up(socket.as_fd());
        let status = (ends && matches!(pidfd::wait_exit(process.pidfd.as_fd(), Deadline::after(MOMENT)), Ok(true)))
            .then(|| reap::now(process.pidfd.as_fd()).ok().flatten());
        drop(socket);
        process.kill();
        for pid in proc_fs::children_named(&name).unwrap_or_default() {
            if !children::is_registered(pid)
                && let Ok(pidfd) = pidfd::open(pid)
                && reap::is_ours(pidfd.as_fd())
                // Still, after the descriptor was opened.
                && proc_fs::is_child_named(pid, &name)
            {
                Started { pid, pidfd }.kill();
            }
        }
        status.flatten()
    }
}

/// What a helper is told: to make a spare; and, each with a descriptor, to make this directory its root, to take over the
/// rights that stand in this file.
const SPARE: u8 = 0;
const ROOT: u8 = 1;
const RIGHTS: u8 = 2;

const NEWS_BYTES: usize = 8;

fn parse_news(news: [u8; NEWS_BYTES]) -> (i32, u32) {
    let [errno @ .., _, _, _, _] = news;
    let [_, _, _, _, pid @ ..] = news;
    (i32::from_ne_bytes(errno), u32::from_ne_bytes(pid))
}

/// An owner that cannot be told is gone, or would wait for good: it must see an end then, and launches another helper.
fn tell(owner: &OwnedFd, errno: i32, spare: Option<Made>) {
    let mut news = [0; NEWS_BYTES];
    news[..4].copy_from_slice(&errno.to_ne_bytes());
    let sent = match spare {
        Some(Made { pid, pidfd, owners_end }) => {
            news[4..].copy_from_slice(&pid.to_ne_bytes());
            seqpacket::send_small(owner.as_fd(), &news, &[pidfd.as_raw_fd(), owners_end.as_raw_fd()])
        }
        None => seqpacket::send_small(owner.as_fd(), &news, &[]),
    };
    if sent.is_err() {
        child::end_silently();
    }
}

/// The helper's side: makes a spare each time it is asked to, until its owner is gone.
pub(crate) fn serve(owner: OwnedFd) -> ! {
    let mut receiver = Receiver::new();
    let Greeting { name, link, opener, status } = spawn::await_greeting(&owner, &mut receiver);
    if let Err(e) = opener.open_anew(link.as_fd()).and_then(death_link::tie) {
        child::refuse_owner(owner.as_fd(), &format!("a link to its owner's life that does not hold: {e}"))
    }
    let cloner = match Cloner::new() {
        Ok(cloner) => cloner,
        Err(e) => child::refuse(&format!(
            "a kernel, or a filter, that denies it get_robust_list or PR_GET_TID_ADDRESS ({e}), so that it cannot fork"
        )),
    };
    attributes::set_name(&name);
    child::warm_up();
    // The terminal's signals are for the owner and its children; only SIGKILL ends a helper from outside.
    std::mem::forget(signals::block_all());
    let _ = seqpacket::limit_waits(owner.as_fd(), IDLE);
    loop {
        let mut what = [0];
        let mut received = seqpacket::receive_small(owner.as_fd(), &mut what, true);
        if received.as_ref().is_err_and(|e| *e == Errno::EAGAIN) {
            // From here on it is the owner that finds out; what has come right now is done.
            let _ = seqpacket::close_for_receiving(owner.as_fd());
            received = seqpacket::receive_small(owner.as_fd(), &mut what, true);
        }
        let done = match received {
            Ok((1, None)) if what == [SPARE] => match make_spare(&cloner, &opener, &link) {
                Ok(Forked::Helper(made)) => Ok(Some(made)),
                Ok(Forked::Spare { socket, own_link }) => {
                    drop((owner, link, opener, status));
                    be_spare(socket, own_link, receiver)
                }
                Err(e) => Err(e),
            },
            Ok((1, Some(root))) if what == [ROOT] => enter_root(&root).map(|()| None),
            Ok((1, Some(rights))) if what == [RIGHTS] => take_over(rights, &status).map(|()| None),
            Err(Errno::EMSGSIZE) => Err(Errno::EMFILE),
            _ => child::end_silently(),
        };
        match done {
            Ok(made) => tell(&owner, 0, made),
            Err(e) => tell(&owner, e as i32, None),
        }
    }
}

/// A spare, as the helper has it.
struct Made {
    pid: i32,
    pidfd: OwnedFd,
    owners_end: OwnedFd,
}

/// Who one is.
enum Forked {
    Helper(Made),
    Spare { socket: OwnedFd, own_link: OwnedFd },
}

fn make_spare(cloner: &Cloner, opener: &death_signal::Opener, link: &OwnedFd) -> nix::Result<Forked> {
    let (owners_end, socket) = seqpacket::pair()?;
    let own_link = opener.open_anew(link.as_fd())?;
    match cloner.clone_sibling()? {
        Cloned::Original { pid, pidfd } => {
            // It does so itself. But it may be stopped before it has, and then nothing would end it with its owner.
            let _ = death_signal::arm_for(own_link.as_fd(), pid);
            Ok(Forked::Helper(Made { pid, pidfd, owners_end }))
        }
        Cloned::Child => Ok(Forked::Spare { socket, own_link }),
    }
}

fn enter_root(root: &OwnedFd) -> nix::Result<()> {
    unistd::fchdir(root)?;
    unistd::chroot(".")
}

fn take_over(rights: OwnedFd, status: &File) -> nix::Result<()> {
    let errno = |e: io::Error| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EINVAL));
    let rights = memfd::read_whole(rights).map_err(errno)?;
    spawn::assume(&String::from_utf8_lossy(&rights), status).map_err(errno)?;
    // The kernel takes a process that changes its user for one with secrets, which nobody may look at. This one was executed
    // by its owner before, and has none that the owner's other children do not have.
    if credentials::is_privileged_start() { Ok(()) } else { nix::sys::prctl::set_dumpable(true) }
}

/// The spare's side.
fn be_spare(socket: OwnedFd, link: OwnedFd, mut receiver: Receiver) -> ! {
    if death_link::tie(link).is_err() {
        child::refuse("a link to its owner's life that does not hold")
    }
    child::rehearse();
    let _ = seqpacket::limit_waits(socket.as_fd(), IDLE);
    loop {
        match receiver.receive(socket.as_fd()) {
            Ok(Some((body, fds))) => child::run_request(socket, body, fds),
            // From here on its owner takes another one; what has come right now is run.
            Err(Errno::EAGAIN) if seqpacket::close_for_receiving(socket.as_fd()).is_ok() => {}
            // Nobody needs it any more.
            Ok(None) | Err(Errno::ECONNRESET) => child::end_silently(),
            Err(Errno::EMSGSIZE) => child::refuse("more descriptors than it may have open"),
            Err(_) => child::refuse("bytes on its socket that are no message of ours"),
        }
    }
}
