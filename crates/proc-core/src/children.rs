//! The children of the calling process: which they are, how they end, and what becomes of them at its exit.

use std::{
    collections::BTreeMap,
    io::Write,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    process::ExitStatus,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use nix::{errno::Errno, sys::signal::Signal};

use crate::{
    crash::CrashReport,
    current::ProcessIdentity,
    error::ProcessError,
    exit::{self, Stage},
    lock::lock,
    logs::{self, Tap},
    output::CapturedStream,
    report::{Found, Left, Report},
    start::{Started, failed},
};
use kernel::{
    fds,
    fork_local::ForkLocal,
    futex::Deadline,
    helper,
    sys::{pidfd, reap},
};

/// How long daemons have between SIGTERM and SIGKILL when their owner exits.
const GRACE: Duration = Duration::from_secs(2);

/// One child.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) name: String,
    pub(crate) daemon: bool,
    /// It leads a process group of its own, which is signalled as a whole.
    pub(crate) own_group: bool,
    /// What it will leave behind; only those that run a function of ours have one.
    report: Option<Report>,
    /// What it has left behind: read once.
    left: Mutex<Option<Left>>,
    /// Another program, not a copy of this one.
    is_program: bool,
    /// Our ends of its standard streams.
    pub(crate) pipes: Mutex<[Option<OwnedFd>; 3]>,
    /// Where its records come from, if it forwards them.
    logs: Option<Tap>,
    /// Its standard output and error, if their lines come here.
    captured: [Option<Arc<CapturedStream>>; 2],
    /// What of its confinement holds, if it has one.
    #[cfg(feature = "confine")]
    pub(crate) confined: OnceLock<crate::confine::Confined>,
    end: OnceLock<End>,
    reaping: Mutex<()>,
}

/// How it ended, once it has been reaped.
#[derive(Clone, Copy, Debug)]
enum End {
    Exited(ExitStatus),
    /// By another part of the program, or by the kernel.
    Reaped,
}

impl Child {
    fn new(started: Started, name: &str, daemon: bool, own_group: bool) -> Self {
        Self {
            pid: started.pid,
            pidfd: started.pidfd,
            name: name.to_owned(),
            daemon,
            own_group,
            report: None,
            left: Mutex::default(),
            is_program: false,
            pipes: Mutex::default(),
            logs: None,
            captured: [None, None],
            #[cfg(feature = "confine")]
            confined: OnceLock::new(),
            end: OnceLock::new(),
            reaping: Mutex::new(()),
        }
    }

    /// Waits until it has ended and reaps it; `None` if the deadline passes before. Any number of threads may wait.
    pub(crate) fn wait(&self, deadline: Option<Deadline>) -> Result<Option<ExitStatus>, ProcessError> {
        if self.end.get().is_none() && !pidfd::wait_exit(self.pidfd.as_fd(), deadline).map_err(failed("wait"))? {
            return Ok(None);
        }
        let status = self.try_wait();
        self.drain();
        status
    }

    /// Passes on what it has logged and written; of one that has ended, all of it.
    pub(crate) fn drain(&self) {
        let [stdout, stderr] = &self.captured;
        if self.logs.is_none() && stdout.is_none() && stderr.is_none() {
            return;
        }
        let has_ended = !self.is_alive();
        if let Some(logs) = &self.logs {
            if has_ended { logs.finish() } else { logs.drain() }
        }
        self.captured.iter().flatten().for_each(|captured| captured.drain(has_ended));
    }

    /// Reaps it if it has ended.
    pub(crate) fn try_wait(&self) -> Result<Option<ExitStatus>, ProcessError> {
        let _reaping = lock(&self.reaping);
        if self.end.get().is_none() {
            let end = match reap::now(self.pidfd.as_fd()) {
                Ok(None) => return Ok(None),
                Ok(Some(status)) => End::Exited(status),
                Err(Errno::ECHILD) if !pidfd::has_exited(self.pidfd.as_fd()) => return Ok(None),
                Err(Errno::ECHILD) => pidfd::kept_status(self.pidfd.as_fd()).map_or(End::Reaped, End::Exited),
                Err(e) => return Err(failed("wait")(e)),
            };
            let _ = self.end.set(end);
            let mut children = lock(CHILDREN.get());
            // Its pid may be a new child's by now.
            if children.get(&self.pid).is_some_and(|child| std::ptr::eq(&raw const **child, self)) {
                children.remove(&self.pid);
            }
        }
        match self.end.get() {
            Some(End::Exited(status)) => Ok(Some(*status)),
            _ => Err(ProcessError::StatusLost { name: self.name.clone(), pid: self.pid }),
        }
    }

    /// What it left for its owner. After its end; what it found is given out once.
    pub(crate) fn left(&self) -> Left {
        let mut left = lock(&self.left);
        let left = left.get_or_insert_with(|| self.read());
        Left { found: std::mem::replace(&mut left.found, Ok(Found::Nothing)), crash: left.crash.clone() }
    }

    /// How it crashed, if it has told. After its end.
    pub(crate) fn crash(&self) -> Option<CrashReport> {
        lock(&self.left).get_or_insert_with(|| self.read()).crash.clone()
    }

    fn read(&self) -> Left {
        let was_killed = matches!(self.end.get(), Some(End::Exited(status)) if status.signal().is_some());
        let nothing = Left { found: Ok(Found::Nothing), crash: None };
        let mut left = self.report.as_ref().map_or(nothing, |report| report.read(was_killed));
        if matches!(self.end.get(), Some(End::Exited(status)) if status.signal() == Some(libc::SIGKILL)) {
            left.crash = CrashReport::of_kill(self.pid).or(left.crash);
        }
        if let (Some(crash), Some(stderr)) = (&mut left.crash, &self.captured[1]) {
            crash.0.stderr = stderr.end();
        }
        left
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_alive(&self) -> bool {
        self.end.get().is_none() && !pidfd::has_exited(self.pidfd.as_fd())
    }

    /// Sends a signal to it, or to its whole group; to no process if it has ended.
    pub(crate) fn signal(&self, signal: i32) -> Result<(), ProcessError> {
        // Not reaped while this is held, so that its group cannot be another's.
        let _reaping = lock(&self.reaping);
        if self.end.get().is_some() {
            return Ok(());
        }
        if self.own_group && self.signal_group(signal).is_ok() {
            return Ok(());
        }
        match pidfd::send_signal(self.pidfd.as_fd(), signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(e) => Err(failed("send a signal")(e)),
        }
    }

    /// Not once other code has reaped it: then its group's number may be another's.
    fn signal_group(&self, signal: i32) -> nix::Result<()> {
        match pidfd::send_signal_to_group(self.pidfd.as_fd(), signal) {
            // An older kernel, or a filter.
            Err(Errno::EINVAL | Errno::ENOSYS | Errno::EPERM) if reap::is_ours(self.pidfd.as_fd()) => {
                nix::sys::signal::killpg(nix::unistd::Pid::from_raw(self.pid.cast_signed()), Signal::try_from(signal)?)
            }
            result => result,
        }
    }
}

static CHILDREN: ForkLocal<Mutex<BTreeMap<u32, Arc<Child>>>> = ForkLocal::new();

/// Takes note of a child that has just been started.
pub(crate) fn register(
    started: Started,
    identity: &ProcessIdentity,
    report: Option<Report>,
    own_group: bool,
    (logs, captured): (Option<Tap>, [Option<Arc<CapturedStream>>; 2]),
) -> Arc<Child> {
    let child = Child::new(started, &identity.name, identity.daemon, own_group);
    let child = Arc::new(Child { report, logs, captured, ..child });
    note(&child);
    child
}

/// Takes charge of a program that has just been executed. One that is linked to this process's life is terminated at
/// its exit.
pub(crate) fn register_program(
    started: Started,
    name: &str,
    pipes: [Option<OwnedFd>; 3],
    own_group: bool,
    linked: bool,
) -> Arc<Child> {
    let child = Child::new(started, name, true, own_group);
    let child = Arc::new(Child { is_program: true, pipes: Mutex::new(pipes), ..child });
    if linked {
        note(&child);
    }
    child
}

fn note(child: &Arc<Child>) {
    exit::register(Stage::Children, finish);
    lock(CHILDREN.get()).insert(child.pid, Arc::clone(child));
}

/// Those that run functions, and have not been reaped.
pub(crate) fn all() -> Vec<Arc<Child>> {
    lock(CHILDREN.get()).values().filter(|child| !child.is_program).cloned().collect()
}

/// Whether the child of this pid has a handle.
pub(crate) fn is_registered(pid: u32) -> bool {
    lock(CHILDREN.get()).contains_key(&pid)
}

/// Ensures that a child without handles is reaped when it ends.
pub(crate) fn reap_in_background(child: &Arc<Child>) {
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    let unwatched = UNWATCHED.get();
    let mut list = lock(&unwatched.list);
    list.push(Arc::clone(child));
    match unwatched.wake.get() {
        Some(wake) if unwatched.running.load(Relaxed) => drop((&*wake).write(&[0])),
        _ => {
            // Without a thread it stays a zombie until the next `active_children`, or our exit.
            let started = unwatched.start();
            unwatched.running.store(started.is_ok(), Relaxed);
        }
    }
}

/// Children without a handle, and the thread that reaps them.
#[derive(Default)]
struct Unwatched {
    list: Mutex<Vec<Arc<Child>>>,
    running: AtomicBool,
    wake: OnceLock<std::io::PipeWriter>,
}

static UNWATCHED: ForkLocal<Unwatched> = ForkLocal::new();

impl Unwatched {
    fn start(&'static self) -> std::io::Result<()> {
        let (woken, wake) = fds::pipe()?;
        // A second start is impossible: the thread never ends once it runs, see `watch`.
        let _ = self.wake.set(wake);
        helper::spawn("proc-core-reaper", move || self.watch(woken))
    }

    fn watch(&self, mut woken: std::io::PipeReader) {
        use std::io::Read;

        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        loop {
            let children = {
                let mut list = lock(&self.list);
                list.retain(|child| matches!(child.try_wait(), Ok(None)));
                list.clone()
            };
            let mut fds: Vec<_> =
                children.iter().map(|child| PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN)).collect();
            fds.push(PollFd::new(woken.as_fd(), PollFlags::POLLIN));
            let polled = poll(&mut fds, PollTimeout::NONE);
            let rung = fds.last().is_some_and(|fd| fd.any() == Some(true));
            if polled.is_ok() && rung {
                let _ = woken.read(&mut [0; 64]);
            }
        }
    }
}

/// At the exit of this process: daemons are terminated, the others waited for.
fn finish() {
    let children: Vec<_> = lock(CHILDREN.get()).values().cloned().collect();
    let (daemons, others): (Vec<_>, Vec<_>) = children.into_iter().partition(|child| child.daemon);
    for daemon in &daemons {
        let _ = daemon.signal(libc::SIGTERM);
    }
    // A forked child that has none would look at the clock for nothing, and take two page faults for it.
    let deadline = daemons.first().and_then(|_| Deadline::after(GRACE));
    for daemon in &daemons {
        if let Ok(None) = daemon.wait(deadline)
            && daemon.signal(libc::SIGKILL).is_ok()
        {
            // Bounded: one that is frozen dies when it thaws. One that may not be killed is killed by its death link.
            let _ = daemon.wait(Deadline::after(GRACE));
        }
    }
    for child in others {
        let _ = child.wait(None);
    }
    logs::drain_all();
}
