//! Which threads of a pool are there, and which of them sleep.
//!
//! | word | meaning | which thread writes it |
//! |---|---|---|
//! | `n_idle` | how long the list of sleepers is | the holder of the list's lock, after each change of it |
//! | `n_live` | threads that have not left | a thread that leaves; the last one finds it at 0 |
//!
//! Two pairs of steps must not miss each other:
//!
//! * A giver queues a task, runs a fence, and reads `n_idle`. A thread puts itself on the list, writes `n_idle`, runs a
//!   fence, and looks into the queue once more before it sleeps.
//! * A giver queues a task, runs a fence, and reads `n_live`. The last thread lowers `n_live`, runs a fence, and looks into
//!   the queue once more.
//!
//! Of two fences (`SeqCst`) one comes first, so at least one side sees what the other wrote. The accesses around them can
//! be `Relaxed`.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};

use crate::platform::{AtomicUsize, CachePadded, Mutex, MutexGuard, Thread, current, fence, park};

/// A thread that sleeps: its number, and its handle.
type Sleeper = (usize, Thread);

pub(super) struct Presence {
    n_live: AtomicUsize,
    n_idle: CachePadded<AtomicUsize>,
    sleepers: Mutex<Vec<Sleeper>>,
}

impl Presence {
    pub(super) fn new(n_live: usize) -> Self {
        Self {
            n_live: AtomicUsize::new(n_live),
            n_idle: CachePadded::new(AtomicUsize::new(0)),
            sleepers: Mutex::new(Vec::new()),
        }
    }

    /// Threads that have not left; what those that have did is seen.
    pub(super) fn n_live(&self) -> usize {
        // Acquire: for that.
        self.n_live.load(Acquire)
    }

    /// The list of sleepers, which stays as it is as long as this is held.
    pub(super) fn sleepers(&self) -> MutexGuard<'_, Vec<Sleeper>> {
        self.sleepers.lock()
    }

    /// Wakes a sleeper, if there is one, for a task that has just been queued. False if all threads have left: then none
    /// looks into the queue any more.
    pub(super) fn notify(&self) -> bool {
        // Pairs with those of `rest` and `leave`.
        fence(SeqCst);
        if self.n_idle.load(Relaxed) != 0 {
            self.wake_one();
        }
        self.n_live.load(Relaxed) != 0
    }

    fn wake_one(&self) {
        let woken = {
            let mut sleepers = self.sleepers.lock();
            let woken = sleepers.pop();
            self.n_idle.store(sleepers.len(), Relaxed);
            woken
        };
        if let Some((_, thread)) = woken {
            thread.unpark();
        }
    }

    /// Wakes all sleepers, after something that concerns all of them.
    pub(super) fn wake_all(&self) {
        // Pairs with that of `rest`.
        fence(SeqCst);
        let sleepers = {
            let mut sleepers = self.sleepers.lock();
            self.n_idle.store(0, Relaxed);
            std::mem::take(&mut *sleepers)
        };
        sleepers.iter().for_each(|(_, thread)| thread.unpark());
    }

    /// Sleeps until another thread wakes this one, unless there is news. Calls `when_listed` with the list's lock held.
    pub(super) fn rest(&self, index: usize, when_listed: impl FnOnce(), has_news: impl Fn() -> bool) {
        {
            let mut sleepers = self.sleepers.lock();
            sleepers.push((index, current()));
            self.n_idle.store(sleepers.len(), Relaxed);
            when_listed();
        }
        // Pairs with those of `notify` and `wake_all`.
        fence(SeqCst);
        // A waker takes the thread off the list before it wakes it; a park may also end without a reason.
        let is_listed = || self.sleepers.lock().iter().any(|(i, _)| *i == index);
        while !has_news() && is_listed() {
            park();
        }
        let mut sleepers = self.sleepers.lock();
        sleepers.retain(|(i, _)| *i != index);
        self.n_idle.store(sleepers.len(), Relaxed);
    }

    /// Notes that the calling thread leaves; true for the last one, which is to look into the queue once more.
    pub(super) fn leave(&self) -> bool {
        // AcqRel: the last one sees what the others did.
        let is_last = self.n_live.fetch_sub(1, AcqRel) == 1;
        if is_last {
            // Pairs with that of `notify`.
            fence(SeqCst);
        }
        is_last
    }
}
