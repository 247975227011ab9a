//! Queues among the things that a thread or a task can wait for: one thread a process (for each 127 queues) watches
//! their event counts with `futex_waitv(2)`, and notifies the waiters.
//!
//! It starts with the first wait of that kind, and sleeps while there are no waiters. Kernels before 5.16 lack the call;
//! there it looks every few milliseconds.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{
            AtomicU32, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed},
        },
    },
    time::Duration,
};

use kernel::{
    at_fork,
    futex::{self, Deadline, Wait},
    helper,
};
use nix::errno::Errno;
use parking_lot::Mutex;

use super::{
    barrier,
    leasing::Leasing,
    raw::Raw,
    ring::{Ring, Side},
};

/// As many words as one call takes, less the one by which the thread itself is woken.
const WATCHED: usize = 127;
/// The longest the thread sleeps without a look, while there are waiters.
const RECHECK: Duration = Duration::from_millis(40);
/// The same where the kernel cannot wait for several words.
const POLL: Duration = Duration::from_millis(2);

static REACTORS: Mutex<(u32, Vec<Arc<Reactor>>)> = Mutex::new((0, Vec::new()));
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

pub(super) type Notify = Arc<dyn Fn() + Send + Sync>;

/// What a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Messages, or room for one.
    Side(Side),
    /// That no item is unfinished.
    AllDone,
}

impl Wanted {
    /// The word that changes with it.
    fn word(self, raw: &Raw) -> &AtomicU32 {
        match self {
            Self::Side(side) => raw.event(side),
            Self::AllDone => raw.done(),
        }
    }

    /// Counts this thread among the sleepers; the word as it is then.
    fn announce(self, raw: &Raw) -> u32 {
        match self {
            Self::Side(side) => raw.announce(side),
            Self::AllDone => raw.announce_joiner(),
        }
    }

    /// Whether an operation that waits for it would end now, be it by an error.
    pub(crate) fn is_there(self, raw: &Raw) -> bool {
        match self {
            Self::Side(side) => raw.is_ready(side),
            Self::AllDone => raw.is_all_done() != Ok(false),
        }
    }
}

struct Reactor {
    /// Changes whenever the list does; the thread sleeps on it, too.
    changes: AtomicU32,
    entries: Mutex<Vec<ReactorEntry>>,
}

#[derive(Clone)]
struct ReactorEntry {
    id: u64,
    raw: Arc<Raw>,
    wanted: Wanted,
    notify: Notify,
    /// The event count at which it was notified last.
    notified_at: Option<u32>,
}

/// A waiter is being notified, until this is dropped.
pub(crate) struct Registration {
    id: u64,
    reactor: Arc<Reactor>,
    /// Forks so far: a forked child has a copy of its parent's, and not the parent's thread.
    forks: u32,
}

impl Registration {
    /// Whether it is this process that notifies.
    pub(crate) fn is_made_here(&self) -> bool {
        self.forks == barrier::forks()
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registration").field(&self.id).finish()
    }
}

/// Calls `notify` whenever what is wanted may have come to be, and at least once if it is there. It is called on the
/// reactor's thread, and must not block or panic.
pub(crate) fn register(raw: &Arc<Raw>, wanted: Wanted, notify: Notify) -> io::Result<Registration> {
    // Relaxed: only that no two are the same.
    let id = NEXT_ID.fetch_add(1, Relaxed);
    let entry = ReactorEntry { id, raw: raw.clone(), wanted, notify, notified_at: None };
    let mut reactors = REACTORS.lock();
    if reactors.0 != barrier::forks() {
        // Threads do not survive a fork.
        *reactors = (barrier::forks(), Vec::new());
    }
    for reactor in &reactors.1 {
        let mut entries = reactor.entries.lock();
        if entries.len() < WATCHED {
            entries.push(entry);
            drop(entries);
            reactor.changed();
            return Ok(Registration { id, reactor: reactor.clone(), forks: reactors.0 });
        }
    }
    let reactor = Arc::new(Reactor { changes: AtomicU32::new(0), entries: Mutex::new(vec![entry]) });
    let running = reactor.clone();
    helper::spawn("ipc-reactor", move || running.run())?;
    reactors.1.push(reactor.clone());
    Ok(Registration { id, reactor, forks: reactors.0 })
}

impl Drop for Registration {
    fn drop(&mut self) {
        if !self.is_made_here() {
            return;
        }
        let entry = {
            let mut entries = self.reactor.entries.lock();
            let at = entries.iter().position(|entry| entry.id == self.id);
            at.map(|at| entries.swap_remove(at))
        };
        self.reactor.changed();
        // Not under the lock: its waker may be the last handle of a task, whose end may drop another registration.
        drop(entry);
    }
}

impl Reactor {
    fn changed(&self) {
        // Release: the entries are as they are to be before the count says so; `run` acquires it.
        self.changes.fetch_add(1, AcqRel);
        futex::wake(&self.changes, 1);
    }

    fn run(&self) {
        let mut due = false;
        loop {
            let changes = self.changes.load(Acquire);
            // Locks are held meanwhile, and wakers called, which take locks of their own.
            let (watched, seen) = at_fork::while_nobody_forks(|| self.look(due));
            let words: Vec<_> = std::iter::once((&self.changes, changes))
                .chain(watched.iter().map(|(raw, wanted)| wanted.word(raw)).zip(seen))
                .collect();
            due = wait_many(&words, if watched.is_empty() { None } else { Some(RECHECK) });
            // Some may be the last handles of their queues.
            at_fork::while_nobody_forks(|| drop(watched));
        }
    }

    /// Notifies those whose queue is ready; what is watched from now on, and the event counts as they were seen.
    fn look(&self, due: bool) -> (Vec<(Arc<Raw>, Wanted)>, Vec<u32>) {
        let entries = self.entries.lock().clone();
        if due {
            // As other sleepers do now and then: what dead processes had taken comes back.
            entries.iter().for_each(|entry| entry.raw.collect_garbage(false));
        }
        let seen: Vec<u32> = entries.iter().map(|entry| entry.wanted.announce(&entry.raw)).collect();
        for (entry, seen) in entries.iter().zip(&seen) {
            if entry.wanted.is_there(&entry.raw) && (due || entry.notified_at != Some(*seen)) {
                self.note(entry.id, *seen);
                (entry.notify)();
                // The waiter was notified, but may leave the message to others. The event count stays as it is: a thread
                // that is not asleep yet looks after the message came, and a step would make every reactor notify again.
                entry.raw.wake(entry.wanted.word(&entry.raw), 2);
            }
        }
        // What is notified is let go of before the sleep: its descriptors are to close with its registration.
        (entries.into_iter().map(|entry| (entry.raw, entry.wanted)).collect(), seen)
    }

    fn note(&self, id: u64, seen: u32) {
        if let Some(entry) = self.entries.lock().iter_mut().find(|entry| entry.id == id) {
            entry.notified_at = Some(seen);
        }
    }
}

/// Sleeps while all words hold what is said; true if the time is over.
fn wait_many(words: &[(&AtomicU32, u32)], time: Option<Duration>) -> bool {
    match futex::wait_any(words, time.and_then(Deadline::after)) {
        Ok(how) => how == Wait::TimedOut,
        Err(Errno::ENOSYS | Errno::EPERM) => {
            let (changes, expected) = words[0];
            let deadline = time.and_then(|_| Deadline::after(POLL));
            futex::wait(changes, expected, deadline) == Wait::TimedOut
        }
        Err(_) => false,
    }
}
