//! What the threads of the owner share: each of them moves tasks and results on.
//!
//! Givers of tasks, waiters for results and the pool's own thread all run [`Shared::pump`]. It never blocks: if another
//! thread has the lock, that one looks into the inbox again after giving the lock back, and finds what was put there.

mod wait;

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{
            AtomicU8, AtomicU32, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use kernel::{at_fork, fds::above_standard_streams};
use nix::sys::eventfd::{EfdFlags, EventFd};
use parking_lot::{Mutex, MutexGuard};
use proc_core::cpu_count;

use super::{
    batch::Batch,
    board::Board,
    inbox::Inbox,
    settings::Settings,
    state::{Phase, State},
    turns::Turns,
    work::{Header, Verdict, Work},
};
use crate::{
    PoolError, Stats, TaskError,
    callbacks::Callbacks,
    stream::{HasInputs, Inputs, Open},
};

pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) state: Mutex<State>,
    /// Tasks that have just been given.
    inbox: Inbox<Arc<dyn Work>>,
    inputs: Inputs,
    /// Wakes the service.
    pub(super) bell: OwnedFd,
    pub(super) callbacks: Callbacks,
    /// A copy of the state's phase, to look at in passing. It only goes on. `SeqCst`, for `n_settling`.
    phase: AtomicU8,
    /// Results taken from lanes and not yet dealt with: more under the lock, less after it. `SeqCst`, as is `phase`: a thread
    /// that lowers it then looks whether the pool is closed, and a thread that closes the pool then looks whether it is 0. One
    /// of them sees the other.
    n_settling: AtomicUsize,
    /// What is seen from outside; the counts of tasks are nowhere else.
    board: Board,
    /// How often a waiter looks for results before it sleeps: more while that pays, less while it does not. `Relaxed`: a hint.
    spins: AtomicU32,
    turns: Turns,
    n_cpus: usize,
    /// Which process of a line of forks this is.
    generation: u32,
}

/// How often a waiter looks at most before it sleeps.
const MAX_SPINS: u32 = 512;

impl Shared {
    pub(super) fn new(settings: Settings) -> std::io::Result<Arc<Self>> {
        let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        let bell = above_standard_streams(OwnedFd::from(bell))?;
        Ok(Arc::new(Self {
            state: Mutex::new(State::new(settings.n_workers, settings.terms.clone())),
            settings,
            inbox: Inbox::new(),
            inputs: Inputs::default(),
            bell,
            callbacks: Callbacks::default(),
            phase: AtomicU8::new(Phase::Open as u8),
            n_settling: AtomicUsize::new(0),
            board: Board::new()?,
            spins: AtomicU32::new(MAX_SPINS),
            turns: Turns::default(),
            n_cpus: cpu_count(),
            generation: at_fork::generation(),
        }))
    }

    /// Whether this is still the process that made the pool, and not a fork of it, to which no worker listens.
    pub(super) fn is_owner(&self) -> bool {
        at_fork::generation() == self.generation
    }

    pub(super) fn submit(&self, work: Arc<dyn Work>) {
        self.submit_until(Phase::Open, work);
    }

    /// Takes a task of an input that was open before the pool was closed, and is still.
    pub(super) fn submit_of_input(&self, work: Arc<dyn Work>) {
        self.submit_until(Phase::Closed, work);
    }

    fn submit_until(&self, last: Phase, work: Arc<dyn Work>) {
        if self.phase.load(SeqCst) > last as u8 || !self.is_owner() {
            let why = if self.is_owner() { self.why_closed() } else { TaskError::Closed };
            return work.refuse(why);
        }
        match self.state.try_lock() {
            Some(state) => {
                if self.turn(state, Some(work), false) {
                    self.pump(false);
                }
            }
            None => {
                self.inbox.push(work);
                self.pump(false);
            }
        }
    }

    /// Enters the input of a map, unless the pool is closed.
    pub(super) fn open_input(self: &Arc<Self>) -> Option<Open<Self>> {
        if !self.is_owner() {
            return None;
        }
        // Under the lock, so that the pool is not closed and left by all workers in between.
        let open = {
            let state = self.state.lock();
            (state.phase() == Phase::Open).then(|| Open::new(self))
        };
        self.looked();
        open
    }

    fn why_closed(&self) -> TaskError {
        self.broken().map_or(TaskError::Closed, TaskError::Broken)
    }

    /// What broke the pool, if something did.
    pub(super) fn broken(&self) -> Option<PoolError> {
        self.state.lock().broken().cloned()
    }

    /// Moves tasks on, unless another thread does so. `collect`: takes results, too.
    pub(super) fn pump(&self, collect: bool) {
        loop {
            let Some(state) = self.inbox.try_lock(&self.state) else {
                // This thread may have settled the last task of a closed pool, and the lock's holder may not see that.
                if !self.is_open() {
                    self.ring();
                }
                return;
            };
            if !self.turn(state, None, collect) {
                return;
            }
        }
    }

    /// Whether there are tasks in the inbox. A thread that has had the lock calls it after giving the lock back.
    pub(super) fn has_new_tasks(&self) -> bool {
        self.inbox.has_new()
    }

    /// Wakes the service for tasks that came while the calling thread, which does not pump, had the lock.
    fn looked(&self) {
        if self.has_new_tasks() {
            self.ring();
        }
    }

    /// One turn, with a task that has just been given; true if there may be more to do.
    fn turn(&self, mut state: MutexGuard<'_, State>, given: Option<Arc<dyn Work>>, collect: bool) -> bool {
        let mut batch = Batch::default();
        self.take_inbox(&mut state, &mut batch);
        if let Some(work) = given {
            self.take_in(work, &mut state, &mut batch);
        }
        if collect || state.n_waiting() % 16 == 1 {
            state.step(&mut batch);
        }
        self.note(&mut state, &batch);
        drop(state);
        // It settles the batch in any case.
        self.settle(batch) || self.inbox.has_new()
    }

    /// Notes under the lock what is about to be settled after it, and whether this is the end.
    pub(super) fn note(&self, state: &mut State, batch: &Batch) {
        self.board.waiting(state.n_waiting());
        if state.is_service_wanted() {
            self.ring();
            // It is about to wake up: once is enough.
            state.wake_service();
        }
        if batch.n_ended() > 0 {
            self.n_settling.fetch_add(batch.n_ended(), SeqCst);
        }
        if state.phase() == Phase::Closed && !state.is_dismissed() && self.is_idle(state) {
            if self.inputs.is_empty() {
                state.dismiss_all();
                self.ring();
            } else if state.is_joined() {
                self.turned();
            }
        }
    }

    /// Whether no task is anywhere.
    fn is_idle(&self, state: &State) -> bool {
        self.n_settling() == 0 && state.is_idle() && self.inbox.is_empty()
    }

    pub(super) fn take_inbox(&self, state: &mut State, batch: &mut Batch) {
        while let Some(work) = self.inbox.take() {
            self.take_in(work, state, batch);
        }
    }

    fn take_in(&self, work: Arc<dyn Work>, state: &mut State, batch: &mut Batch) {
        if let Some(why) = state.why_refused() {
            return batch.refuse(work, why);
        }
        if self.settings.idle_timeout.is_some() && state.all_busy() && state.wake_seat() {
            self.ring();
        }
        state.take_in(work, batch);
    }

    /// Deals with what was taken under the lock, without it. True if there may be more to do.
    pub(super) fn settle(&self, batch: Batch) -> bool {
        let n_ended = batch.n_ended();
        let mut again = false;
        let mut retries: Vec<(Arc<dyn Work>, Duration)> = Vec::new();
        // A thread that waits for one task after another is woken once, and then finds all of these done.
        let mut to_wake: Vec<Arc<dyn Work>> = Vec::new();
        batch.settle(|verdict| match verdict {
            Verdict::Over => {}
            Verdict::Wake(work) => to_wake.push(work),
            Verdict::Again(work) => {
                again = true;
                self.inbox.push(work);
            }
            Verdict::Retry(work, delay) => retries.push((work, delay)),
        });
        to_wake.iter().for_each(|work| work.wake());
        if n_ended == 0 {
            return false;
        }
        if !retries.is_empty() {
            let mut state = self.state.lock();
            retries.into_iter().for_each(|(work, delay)| state.delay(work, delay));
            self.ring();
            again = true;
        }
        self.n_settling.fetch_sub(n_ended, SeqCst);
        again || self.phase.load(SeqCst) != Phase::Open as u8
    }

    pub(super) fn count(&self, n_done: usize, n_failed: usize) {
        // A fork of the owner has the same page, and what it refuses is no failure of the pool.
        if !self.is_owner() {
            return;
        }
        if n_done > 0 {
            self.board.done().fetch_add(n_done as u64, Relaxed);
        }
        if n_failed > 0 {
            self.board.failed().fetch_add(n_failed as u64, Relaxed);
        }
    }

    /// Shows on the board what has become of the workers.
    pub(super) fn tell(&self, state: &State) {
        self.board.tell(&state.news());
    }

    /// Takes a task that was cancelled away from its worker.
    pub(super) fn withdraw(&self, header: &Header) {
        let is_lost = {
            let mut state = self.state.lock();
            state.withdraw(header.place.load(Relaxed));
            !state.out_of_reach().is_empty()
        };
        if is_lost {
            // No death will wake the service.
            self.ring();
        }
        self.pump(true);
    }

    /// Takes a task out of the pool, unless a worker has begun with it.
    pub(super) fn take_out(&self, header: &Header) -> bool {
        let mut batch = Batch::default();
        let is_out = {
            let mut state = self.state.lock();
            self.take_inbox(&mut state, &mut batch);
            let is_out = state.take_out(header);
            self.note(&mut state, &batch);
            is_out
        };
        self.settle(batch);
        self.pump(true);
        is_out
    }

    /// Whether a worker has begun with a task.
    pub(super) fn is_running(&self, header: &Header) -> bool {
        let is_running = self.is_owner() && self.state.lock().is_running(header.place.load(Relaxed));
        self.looked();
        is_running
    }

    /// Wakes the service.
    pub(super) fn ring(&self) {
        // A counter that is full is as good as one that has just grown.
        let _ = nix::unistd::write(&self.bell, &1_u64.to_ne_bytes());
    }

    pub(super) fn unring(&self) {
        let _ = nix::unistd::read(self.bell.as_fd(), &mut [0; 8]);
    }

    /// Makes the pool have so many workers; tells the maps, too, by `n_workers`.
    pub(super) fn resize(&self, n: usize, n_workers: &AtomicUsize) -> Result<(), PoolError> {
        PoolError::refuse_zero("workers", Some(n))?;
        if !self.is_owner() {
            return Err(PoolError::Closed);
        }
        {
            let mut state = self.state.lock();
            if let Some(why) = state.broken() {
                return Err(why.clone());
            }
            if state.phase() != Phase::Open {
                return Err(PoolError::Closed);
            }
            state.resize(n);
            // Under the lock, so that the last one here is the last one there.
            n_workers.store(n, Relaxed);
        }
        self.pump(true);
        self.ring();
        Ok(())
    }

    pub(super) fn close(&self) {
        self.enter(Phase::Closed);
    }

    pub(super) fn terminate(&self) {
        self.enter(Phase::Terminated);
    }

    fn enter(&self, phase: Phase) {
        if !self.is_owner() {
            return;
        }
        let mut batch = Batch::default();
        {
            let mut state = self.state.lock();
            state.enter(phase);
            self.phase.fetch_max(phase as u8, SeqCst);
            if phase == Phase::Terminated {
                self.take_inbox(&mut state, &mut batch);
                state.fail_all(&TaskError::Cancelled, &mut batch);
            }
            self.note(&mut state, &batch);
        }
        self.settle(batch);
        self.pump(true);
        self.ring();
    }

    /// Marks the pool as broken, for threads that look at `phase` in passing.
    pub(super) fn mark_broken(&self) {
        self.phase.fetch_max(Phase::Closed as u8, SeqCst);
    }

    pub(super) fn is_open(&self) -> bool {
        self.phase.load(SeqCst) == Phase::Open as u8
    }

    pub(super) fn n_settling(&self) -> usize {
        self.n_settling.load(SeqCst)
    }

    pub(super) fn stats(&self) -> Stats {
        if !self.is_owner() {
            return Stats::default();
        }
        let mut stats = self.state.lock().stats();
        stats.queued += self.inbox.len();
        stats.done = self.board.done().load(Relaxed);
        stats.failed = self.board.failed().load(Relaxed);
        self.looked();
        stats
    }
}

impl HasInputs for Shared {
    fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    fn left(&self) {
        if !self.is_open() && self.is_owner() {
            // This may have been the last thing that the workers stayed for.
            self.ring();
        }
    }
}
