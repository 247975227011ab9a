//! Reaping orphans beside other work.

use std::{
    collections::{HashMap, HashSet},
    io, mem,
    os::fd::AsFd,
    process::ExitStatus,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use nix::{sys::prctl, unistd::getsid};

use super::{
    STARTS,
    census::{self, who},
};
use kernel::{
    fork_local::ForkLocal,
    helper,
    identity::ProcessId,
    sys::{pidfd, proc_fs::Stat, reap},
};

/// How an orphan ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OrphanExit {
    /// What was its pid.
    pub pid: u32,
    /// What `/proc/PID/comm` said: the first 15 bytes of its name.
    pub name: String,
    /// Its exit status.
    pub status: ExitStatus,
}

/// What a [`Reaper`] may take for an orphan.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use proc_core::reaper::Reaper;
///
/// let reaper = Reaper::builder().claim_after(Duration::from_secs(60)).start()?;
/// assert!(reaper.exits().try_recv().is_err()); // no orphan has ended yet
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing before `start`"]
pub struct ReaperBuilder {
    exclusive: bool,
    claim_after: Option<Duration>,
}

impl ReaperBuilder {
    /// The program promises to start processes with this crate only, or to hold a process descriptor of all others.
    /// Every other child is an orphan then, whatever the speed at which it lost its parent; except for those that are
    /// children already.
    ///
    /// Code that uses `std::process::Command` all the same may find that its child's status is gone.
    pub fn exclusive(mut self) -> Self {
        self.exclusive = true;
        self
    }

    /// Takes a zombie for an orphan's when no code has reaped it for so long.
    ///
    /// Code that waits for a child later than this gets `ECHILD`.
    pub fn claim_after(mut self, time: Duration) -> Self {
        self.claim_after = Some(time);
        self
    }

    /// Begins to adopt and to reap orphans.
    ///
    /// # Errors
    /// `AlreadyExists` while this process has another reaper, `EAGAIN` if no thread can be started.
    pub fn start(self) -> io::Result<Reaper> {
        Reaper::start_with(self)
    }
}

/// Makes the calling process the parent of all orphans among its descendants, and reaps them when they end, until it is
/// dropped. Runs on a helper thread.
///
/// It never takes the exit status of a child away from the code that started that child: see the [module](super).
///
/// # Crash safety
/// If this process dies, its orphans go to the next subreaper further up, or to `init`. Children of this crate die with
/// it.
///
/// # Examples
/// ```
/// use std::process::Command;
/// use proc_core::reaper::Reaper;
///
/// let reaper = Reaper::builder().exclusive().start()?;
/// // The shell ends at once, and leaves an orphan behind.
/// proc_core::command::call(["sh", "-c", "(sleep 0.1; exit 7) & exit 0"])?;
/// assert_eq!(reaper.exits().recv()?.status.code(), Some(7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Reaper {
    shared: Arc<ReaperState>,
    exits: Receiver<OrphanExit>,
}

#[derive(Debug, Default)]
struct ReaperState {
    stop: Mutex<bool>,
    wake: Condvar,
    in_doubt: AtomicUsize,
    missed: AtomicUsize,
}

/// Exits that were not received are kept up to this number. The channel has room for all from the first on, and touches it.
const LONGEST_BACKLOG: usize = 1 << 12;
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

static RUNNING: ForkLocal<AtomicBool> = ForkLocal::new();

impl Reaper {
    /// Begins to adopt orphans, and to reap those that certainly are some.
    ///
    /// # Errors
    /// As [`ReaperBuilder::start`].
    pub fn start() -> io::Result<Self> {
        Self::builder().start()
    }

    /// A reaper that is told more about this program.
    pub fn builder() -> ReaperBuilder {
        ReaperBuilder::default()
    }

    fn start_with(options: ReaperBuilder) -> io::Result<Self> {
        let running = RUNNING.get();
        // Acquire and Release, as a lock: the next reaper begins after the last one has ended.
        if running.swap(true, Acquire) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "this process has a reaper already"));
        }
        let (report, exits) = sync_channel(LONGEST_BACKLOG);
        let shared = Arc::new(ReaperState::default());
        let mut watch = Watch::new(options, report, Arc::clone(&shared));
        let started = prctl::set_child_subreaper(true)
            .map_err(io::Error::from)
            .and_then(|()| helper::spawn("proc-core-orphan", move || watch.run()));
        if let Err(e) = started {
            let _ = prctl::set_child_subreaper(false);
            running.store(false, Release);
            return Err(e);
        }
        Ok(Self { shared, exits })
    }

    /// How the orphans that have been reaped ended, in the order in which they were found. Those that are not received
    /// are kept, up to 4,096.
    pub fn exits(&self) -> &Receiver<OrphanExit> {
        &self.exits
    }

    /// How many children are zombies of which it is unknown whether they were adopted. See the [module](super).
    pub fn in_doubt(&self) -> usize {
        // Relaxed, as `missed`: a number by itself.
        self.shared.in_doubt.load(Relaxed)
    }

    /// How many exits [`exits`](Self::exits) had no room for.
    pub fn missed(&self) -> usize {
        self.shared.missed.load(Relaxed)
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        *self.shared.stop.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.wake.notify_one();
        let _ = prctl::set_child_subreaper(false);
        RUNNING.get().store(false, Release);
    }
}

/// What the helper thread knows.
struct Watch {
    options: ReaperBuilder,
    report: SyncSender<OrphanExit>,
    shared: Arc<ReaperState>,
    /// Children before we were a subreaper: not adopted.
    earlier: HashSet<ProcessId>,
    /// Seen as other processes' children.
    distant: HashSet<ProcessId>,
    /// The sessions that this process has been in since then.
    sessions: HashSet<u32>,
    /// Zombies of which we cannot tell, and since when.
    doubtful: HashMap<ProcessId, Instant>,
}

impl Watch {
    fn new(options: ReaperBuilder, report: SyncSender<OrphanExit>, shared: Arc<ReaperState>) -> Self {
        let earlier = census::children_of(std::process::id()).iter().map(who).collect();
        Self {
            options,
            report,
            shared,
            earlier,
            distant: HashSet::new(),
            sessions: HashSet::new(),
            doubtful: HashMap::new(),
        }
    }

    fn run(&mut self) {
        let mut pause = SHORTEST_PAUSE;
        let shared = Arc::clone(&self.shared);
        let mut stop = shared.stop.lock().unwrap_or_else(PoisonError::into_inner);
        while !*stop {
            drop(stop);
            let begun = Instant::now();
            let has_descendants = self.look();
            // Bounds the share of a CPU that looking takes.
            let least = (begun.elapsed() * 50).min(LONGEST_PAUSE).max(SHORTEST_PAUSE);
            pause = if has_descendants { least } else { (pause * 2).min(LONGEST_PAUSE) };
            stop = shared.stop.lock().unwrap_or_else(PoisonError::into_inner);
            if !*stop {
                stop = shared.wake.wait_timeout(stop, pause).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// Reaps what is to be reaped, and takes note of the others. Whether there is anything to look after.
    fn look(&mut self) -> bool {
        if let Ok(session) = getsid(None) {
            self.sessions.insert(session.as_raw().cast_unsigned());
        }
        let me = std::process::id();
        let children = census::children_of(me);
        let mut distant = HashSet::new();
        census::add_distant_descendants(me, &mut distant);
        let has_descendants = !(children.is_empty() && distant.is_empty());
        let zombies: Vec<&Stat> = children.iter().filter(|child| child.is_zombie()).collect();
        if zombies.is_empty() {
            self.doubtful.clear();
        } else {
            self.judge(&zombies);
        }
        self.shared.in_doubt.store(self.doubtful.len(), Relaxed);
        // Those that are children by now stay known for what they were.
        let alive: HashSet<ProcessId> = children.iter().map(who).collect();
        self.distant.retain(|who| alive.contains(who));
        self.distant.extend(distant);
        self.earlier.retain(|who| alive.contains(who));
        has_descendants
    }

    fn judge(&mut self, zombies: &[&Stat]) {
        // No thread is between a start and knowing what was started.
        let starts = STARTS.get().write().unwrap_or_else(PoisonError::into_inner);
        let awaited = if self.options.exclusive { census::held_by_descriptor() } else { HashSet::new() };
        drop(starts);
        let mut former = mem::take(&mut self.doubtful);
        for zombie in zombies {
            let who = who(zombie);
            let since = former.remove(&who).unwrap_or_else(Instant::now);
            let is_orphan = !self.earlier.contains(&who)
                && (self.distant.contains(&who)
                    || (zombie.session != zombie.pid && !self.sessions.contains(&zombie.session))
                    || (self.options.exclusive && !awaited.contains(&zombie.pid))
                    || self.options.claim_after.is_some_and(|time| since.elapsed() >= time));
            match is_orphan {
                true => self.reap(zombie),
                false => drop(self.doubtful.insert(who, since)),
            }
        }
    }

    fn reap(&self, zombie: &Stat) {
        let Ok(pidfd) = pidfd::open(zombie.pid) else { return };
        // A thread that waits for any child may have been faster, and the pid may be another's.
        if Stat::of(zombie.pid).is_none_or(|now| who(&now) != who(zombie)) {
            return;
        }
        if let Ok(Some(status)) = reap::now(pidfd.as_fd()) {
            let exit = OrphanExit { pid: zombie.pid, name: zombie.name.clone(), status };
            if self.report.try_send(exit).is_err() {
                self.shared.missed.fetch_add(1, Relaxed);
            }
        }
    }
}
