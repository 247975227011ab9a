//! What the threads of a pool share: the queue, the list of sleepers, and the way to the end.
//!
//! A thread takes the oldest task of the pool's queue, so that tasks start in the order in which they were given.
//! A thread whose last tasks took next to nothing takes several at once into its hand, [`HAND_TIME`] worth: otherwise
//! the threads would spend more time on the queue than on the tasks.
//!
//! A task is never lost between a giver and threads that sleep or leave: see `presence.rs`.

use std::{
    cell::Cell,
    iter,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU8, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
        mpsc,
    },
    task::Waker,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_deque::{Injector, Steal, Stealer, Worker};
use crossbeam_utils::{Backoff, CachePadded};
use parking_lot::Condvar;
use proc_core::Panic;

use super::{caught::caught, presence::Presence};
use crate::{
    PoolError, Stats, TaskError,
    stats::WorkerStats,
    stream::{HasInputs, Inputs, Open},
    wakers::Wakers,
};

/// A job, whatever it returns.
pub(super) trait ThreadWork: Send + Sync {
    /// Runs it; `None` if it was taken already.
    fn run(&self) -> Option<Ran>;

    /// The panic that it ended with, if no waiter has taken that.
    fn untaken_panic(&self) -> Option<TaskError>;

    /// Ends it without running it.
    fn refuse(&self, why: TaskError);
}

/// What a job's run has come to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Ran {
    /// Calls that ended with a value: one, or one for each item.
    pub(super) n_done: u64,
    pub(super) n_failed: u64,
}

type AnyJob = Arc<dyn ThreadWork>;

pub(super) struct Threads {
    queue: Injector<AnyJob>,
    /// What the threads have in hand, for those that find nothing else.
    hands: Vec<Stealer<AnyJob>>,
    state: AtomicU8,
    presence: Presence,
    /// A thread sleeps, or an input was left, in a closed pool. Goes with the list of sleepers.
    changed: Condvar,
    inputs: Inputs,
    /// To be woken when all threads have left.
    on_end: Wakers,
    workers: Vec<CachePadded<Counters>>,
}

/// The states of a pool, each later than the one before. It is only ever moved on.
///
/// | state | meaning | entered by |
/// |---|---|---|
/// | `OPEN` | takes tasks | |
/// | `CLOSED` | what was given runs to its end, and so do inputs that were open | `close` |
/// | `TERMINATED` | what has not begun is refused | `terminate` |
///
/// Written with `Release` and read with `Acquire`: a thread that sees a later state sees what was queued before it.
const OPEN: u8 = 0;
const CLOSED: u8 = 1;
const TERMINATED: u8 = 2;

/// Of one thread, which alone writes them; others read them as information, so all accesses are `Relaxed`.
#[derive(Default)]
struct Counters {
    /// Calls, of which a job on many items has many.
    done: AtomicU64,
    failed: AtomicU64,
    jobs: AtomicU64,
    busy: AtomicBool,
}

thread_local! {
    /// Which pool the thread belongs to, by address.
    static MINE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Whether the calling thread is one of the pool's at that address.
pub(super) fn is_mine(address: usize) -> bool {
    MINE.get() == Some(address)
}

impl Threads {
    pub(super) fn start(
        name: &str,
        n_workers: usize,
        initializer: Option<Arc<dyn Fn() + Send + Sync>>,
    ) -> Result<(Arc<Self>, Vec<JoinHandle<()>>), PoolError> {
        Panic::note_locations();
        let hands: Vec<_> = (0..n_workers).map(|_| Worker::new_fifo()).collect();
        let shared = Arc::new(Self {
            queue: Injector::new(),
            hands: hands.iter().map(Worker::stealer).collect(),
            state: AtomicU8::new(OPEN),
            presence: Presence::new(n_workers),
            changed: Condvar::new(),
            inputs: Inputs::default(),
            on_end: Wakers::default(),
            workers: (0..n_workers).map(|_| CachePadded::default()).collect(),
        });
        let (ready, initialized) = mpsc::channel();
        let mut threads = Vec::new();
        for (index, hand) in hands.into_iter().enumerate() {
            let (mine, initializer, ready) = (shared.clone(), initializer.clone(), ready.clone());
            let body = move || {
                let begun = initializer.map_or(Ok(()), |f| caught(|| f()));
                let failed = begun.is_err();
                let _ = ready.send(begun);
                drop(ready);
                if !failed {
                    MINE.set(Some(mine.address()));
                    mine.work(index, hand);
                    MINE.set(None);
                }
                mine.leave();
            };
            match thread::Builder::new().name(format!("{name}-{index}")).spawn(body) {
                Ok(thread) => threads.push(thread),
                Err(e) => {
                    shared.close();
                    return Err(e.into());
                }
            }
        }
        drop(ready);
        match initialized.iter().find_map(Result::err) {
            None => Ok((shared, threads)),
            Some(e) => {
                shared.close();
                Err(PoolError::Initializer(e.to_string()))
            }
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.state.load(Acquire) == OPEN
    }

    /// Whether threads that find no work may leave.
    fn is_over(&self) -> bool {
        match self.state.load(Acquire) {
            OPEN => false,
            CLOSED => self.inputs.is_empty(),
            _ => true,
        }
    }

    /// Enters the input of a map, unless the pool is closed.
    pub(super) fn open_input(self: &Arc<Self>) -> Option<Open<Self>> {
        // One that is closed meanwhile, and left, refuses the input's tasks.
        self.is_open().then(|| Open::new(self))
    }

    /// Blocks until all inputs are read (true), or those that are not are `out_of_reach` and there is no other work.
    pub(super) fn wait_for_inputs(&self, out_of_reach: impl Fn(&Inputs) -> bool) -> bool {
        let mut sleepers = self.presence.sleepers();
        let is_mine = usize::from(is_mine(self.address()));
        while !self.is_over() {
            let all_idle = sleepers.len() + is_mine >= self.presence.n_live() && !self.has_work();
            if all_idle && out_of_reach(&self.inputs) {
                return false;
            }
            self.changed.wait(&mut sleepers);
        }
        true
    }

    pub(super) fn is_this_thread_mine(&self) -> bool {
        is_mine(self.address())
    }

    /// Whether all threads have left; if not, has `waker` woken once they have.
    pub(super) fn poll_gone(&self, waker: &Waker) -> bool {
        self.on_end.poll(waker, || self.presence.n_live() == 0)
    }

    pub(super) fn address(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// Queues a job, or refuses it if the pool is closed.
    pub(super) fn push(&self, job: AnyJob) {
        self.push_until(OPEN, job);
    }

    /// Queues a job of an input that was open before the pool was closed, and is still.
    pub(super) fn push_of_input(&self, job: AnyJob) {
        self.push_until(CLOSED, job);
    }

    fn push_until(&self, last: u8, job: AnyJob) {
        if self.state.load(Acquire) > last {
            return job.refuse(TaskError::Closed);
        }
        self.queue.push(job);
        if !self.presence.notify() {
            self.refuse_all(&TaskError::Closed);
        }
    }

    pub(super) fn close(&self) {
        let _ = self.state.compare_exchange(OPEN, CLOSED, AcqRel, Relaxed);
        self.wake_all();
    }

    pub(super) fn terminate(&self) {
        self.state.store(TERMINATED, Release);
        self.refuse_all(&TaskError::Cancelled);
        self.wake_all();
    }

    fn wake_all(&self) {
        self.presence.wake_all();
        self.changed.notify_all();
    }

    fn refuse_all(&self, why: &TaskError) {
        while let Some(job) = self.oldest() {
            job.refuse(why.clone());
        }
    }

    fn oldest(&self) -> Option<AnyJob> {
        taken(|| iter::once(self.queue.steal()).chain(self.hands.iter().map(Stealer::steal)).collect())
    }

    /// A worker's life.
    fn work(&self, index: usize, jobs: Worker<AnyJob>) {
        let mut hand = Hand { jobs, n_at_once: 0, since: Instant::now() };
        let mine = &self.workers[index];
        loop {
            // Before the look for work, so that an input's last task is seen.
            let is_over = self.is_over();
            let Some(job) = hand.next(self) else {
                if is_over {
                    return;
                }
                self.rest(index);
                continue;
            };
            if self.state.load(Acquire) == TERMINATED {
                job.refuse(TaskError::Cancelled);
                continue;
            }
            mine.busy.store(true, Relaxed);
            // Beyond the task itself, which is caught inside: its captures' and its value's drop may panic.
            let ran = caught(move || job.run()).unwrap_or(Some(Ran { n_done: 0, n_failed: 1 }));
            mine.busy.store(false, Relaxed);
            let Some(ran) = ran else { continue };
            // Only this thread changes them.
            let add = |counter: &AtomicU64, n| counter.store(counter.load(Relaxed) + n, Relaxed);
            add(&mine.done, ran.n_done);
            add(&mine.failed, ran.n_failed);
            add(&mine.jobs, 1);
        }
    }

    /// Looks out for work a little longer, then sleeps until there is some.
    fn rest(&self, index: usize) {
        let backoff = Backoff::new();
        while !backoff.is_completed() {
            if self.has_work() || self.is_over() {
                return;
            }
            backoff.snooze();
        }
        let when_listed = || {
            if !self.is_open() {
                self.changed.notify_all();
            }
        };
        self.presence.rest(index, when_listed, || self.has_work() || self.is_over());
    }

    fn has_work(&self) -> bool {
        !self.queue.is_empty() || self.hands.iter().any(|hand| !hand.is_empty())
    }

    fn leave(&self) {
        if self.presence.leave() {
            self.refuse_all(&TaskError::Closed);
            self.on_end.wake_all();
        }
    }

    pub(super) fn stats(&self) -> Stats {
        let workers: Vec<_> = self
            .workers
            .iter()
            .map(|w| WorkerStats {
                pid: None,
                done: w.jobs.load(Relaxed),
                busy: w.busy.load(Relaxed),
                leaving: false,
                task: None,
            })
            .collect();
        Stats {
            queued: self.queue.len() + self.hands.iter().map(Stealer::len).sum::<usize>(),
            running: workers.iter().filter(|w| w.busy).count(),
            done: self.workers.iter().map(|w| w.done.load(Relaxed)).sum(),
            failed: self.workers.iter().map(|w| w.failed.load(Relaxed)).sum(),
            n_workers: workers.len(),
            workers,
            ..Stats::default()
        }
    }
}

/// What a thread has taken from the queue and not begun.
struct Hand {
    jobs: Worker<AnyJob>,
    /// How many it took last; 0 if there were none.
    n_at_once: usize,
    /// When it took them.
    since: Instant,
}

/// How much work a thread takes at once.
const HAND_TIME: Duration = Duration::from_micros(20);
const MAX_AT_ONCE: usize = 32;

impl Hand {
    fn next(&mut self, pool: &Threads) -> Option<AnyJob> {
        self.jobs.pop().or_else(|| {
            let now = Instant::now();
            let is_short = now - self.since < HAND_TIME;
            self.n_at_once = if is_short { (2 * self.n_at_once).clamp(1, MAX_AT_ONCE) } else { 1 };
            self.since = now;
            let jobs = taken(|| pool.queue.steal_batch_with_limit_and_pop(&self.jobs, self.n_at_once));
            if jobs.is_none() {
                self.n_at_once = 0;
            }
            jobs.or_else(|| pool.oldest())
        })
    }
}

fn taken(mut attempt: impl FnMut() -> Steal<AnyJob>) -> Option<AnyJob> {
    loop {
        match attempt() {
            Steal::Success(job) => return Some(job),
            Steal::Empty => return None,
            Steal::Retry => {}
        }
    }
}

impl HasInputs for Threads {
    fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    fn left(&self) {
        if !self.is_open() {
            self.wake_all();
        }
    }
}
