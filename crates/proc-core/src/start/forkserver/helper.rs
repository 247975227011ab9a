//! The helper process and its spares, as their owner has them.

use std::{
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    process::ExitStatus,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    poll::{PollFd, PollFlags, poll},
    sys::stat::Mode,
};

use super::protocol::{NEWS_BYTES, RIGHTS, ROOT, SPARE, parse_news};
use crate::{
    children,
    error::ProcessError,
    report::Report,
    start::{
        Started,
        conditions::{self, Conditions, Inherited},
        failed,
        plain::Plain,
        request, spawn,
    },
};
use kernel::{
    fds::above_standard_streams,
    futex::Deadline,
    sys::{fds, memfd, pidfd, proc_fs, reap, seqpacket},
};

/// With two, whoever starts one process after another never waits for a fork: while it runs one child, the helper makes
/// the next but one on another CPU. With one, every other fork got in front of the very child that was waited for.
const AHEAD: usize = 2;
/// Without an answer for so many milliseconds, the owner looks whether its helper is stopped.
const PATIENCE: u16 = 1_000;
/// After so many times it is given up: a frozen one cannot be told from one that is slow. Its successor is waited for twice as long:
/// where everything is slow, it would get no further.
const PATIENCES: u32 = 5;
/// How often that is doubled at most.
const MAX_DOUBLINGS: u32 = 4;
/// Long between two steps of a process's end.
pub(super) const MOMENT: Duration = Duration::from_secs(1);

/// The helper process, as its owner has it.
#[derive(Debug)]
pub(super) struct Helper {
    pub(super) socket: OwnedFd,
    pub(super) process: Started,
    /// Its name in `/proc/PID/comm`, and that of its spares.
    pub(super) name: String,
    /// How many spares have been asked for, and not taken.
    n_spares: usize,
    /// After how many looks without an answer it is given up.
    n_patiences: u32,
    /// What its children have.
    pub(super) conditions: Conditions,
    /// Its mount namespace.
    mounts: Option<u64>,
}

/// The helper is gone, or stopped.
pub(super) struct Lost;

pub(super) enum Taken {
    Spare(Spare),
    /// There is none, for want of something.
    Refused(Errno),
}

/// A child that waits for its request.
#[derive(Debug)]
pub(super) struct Spare {
    process: Started,
    socket: OwnedFd,
}

impl Spare {
    /// Gives it its request; `None` if it was found dead.
    pub(super) fn send(
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
    /// A new one, which has done nothing yet.
    pub(super) fn execute(now: &Conditions) -> Result<Self, ProcessError> {
        static LAUNCHED: AtomicU32 = AtomicU32::new(0);
        let name = format!("forkserver-{}", LAUNCHED.fetch_add(1, Relaxed) % 10_000);
        let (socket, process) = spawn::execute("server")?;
        let helper = Self {
            socket,
            process,
            name,
            n_spares: 0,
            n_patiences: PATIENCES,
            conditions: now.clone(),
            mounts: conditions::mount_namespace(),
        };
        match spawn::greet(&helper.socket, &helper.name) {
            // One that is dead already is found out when it is needed.
            Ok(()) | Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(helper),
            Err(e) => {
                helper.process.kill();
                Err(failed("greet the fork server")(e))
            }
        }
    }

    /// Has its owner wait for it as long as is right after so many others that were lost.
    pub(super) fn be_waited_for(&mut self, n_lost: u32) {
        self.n_patiences = PATIENCES << n_lost.min(MAX_DOUBLINGS);
    }

    /// Sees to it that its children will have what this process has now, but for what comes with their requests.
    pub(super) fn keep_up(&mut self, now: &mut Conditions) -> Result<(), Lost> {
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
        seqpacket::send_bytes(self.socket.as_fd(), &[what], &[with.as_raw_fd()]).map_err(|_| Lost)?;
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
    pub(super) fn news(&mut self) -> Result<(i32, Option<Spare>), Lost> {
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

    pub(super) fn ask_for_spares(&mut self) -> nix::Result<()> {
        while self.n_spares < AHEAD {
            match seqpacket::send_bytes(self.socket.as_fd(), &[SPARE], &[]) {
                // A helper that is dead is found out when the spare is needed.
                Ok(()) | Err(Errno::EPIPE | Errno::ECONNRESET) => self.n_spares += 1,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// The eldest of the spares that it keeps ready; waits for one that is being made.
    pub(super) fn take_spare(&mut self) -> Result<Taken, Lost> {
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
        for _ in 0..self.n_patiences {
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

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        pidfd::has_exited(self.process.pidfd.as_fd())
    }

    /// Ends and reaps the helper and its spares, also one that it made without a chance to tell. What cannot be cleared up now
    /// ends by itself, since its socket is closed. Returns how the helper ended if it did so by itself.
    pub(super) fn end(self) -> Option<ExitStatus> {
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
