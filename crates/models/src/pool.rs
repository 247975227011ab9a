//! A pool of threads: who sleeps, who wakes them, and who is the last to leave. A pool of processes: the tasks that are given
//! while another thread has the lock.

#[path = "../../pool/src/process/inbox.rs"]
#[allow(dead_code, reason = "the rest is for statistics")]
mod inbox;
#[path = "../../pool/src/thread/presence.rs"]
#[allow(dead_code, reason = "the rest is for statistics and inputs")]
mod presence;

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use loom::{sync::Arc, thread};

use self::{inbox::Inbox, presence::Presence};
use crate::{
    explore,
    platform::{AtomicU64, Mutex},
};

/// A pool whose tasks are a number in a queue; what orders the queue is only the fences of `Presence`.
struct Pool {
    presence: Presence,
    n_queued: AtomicU64,
    is_closed: AtomicU64,
    n_run: AtomicU64,
    n_refused: AtomicU64,
}

impl Pool {
    fn new(n_threads: usize) -> Arc<Self> {
        let zero = || AtomicU64::new(0);
        Arc::new(Self {
            presence: Presence::new(n_threads),
            n_queued: zero(),
            is_closed: zero(),
            n_run: zero(),
            n_refused: zero(),
        })
    }

    fn take(&self) -> bool {
        let mut n = self.n_queued.load(Relaxed);
        while n > 0 {
            match self.n_queued.compare_exchange(n, n - 1, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(now) => n = now,
            }
        }
        false
    }

    fn is_over(&self) -> bool {
        self.is_closed.load(Acquire) != 0
    }

    fn refuse_all(&self) {
        while self.take() {
            self.n_refused.fetch_add(1, Relaxed);
        }
    }

    /// As `shared.rs` queues a task.
    fn give(&self) {
        if self.is_over() {
            self.n_refused.fetch_add(1, Relaxed);
            return;
        }
        self.n_queued.fetch_add(1, Relaxed);
        if !self.presence.notify() {
            self.refuse_all();
        }
    }

    fn close(&self) {
        self.is_closed.store(1, Release);
        self.presence.wake_all();
    }

    /// As a thread of `shared.rs` works, without looking for a while before it sleeps.
    fn work(&self, index: usize) {
        loop {
            let is_over = self.is_over();
            if self.take() {
                self.n_run.fetch_add(1, Relaxed);
            } else if is_over {
                break;
            } else {
                self.presence.rest(index, || (), || self.n_queued.load(Relaxed) > 0 || self.is_over());
            }
        }
        if self.presence.leave() {
            self.refuse_all();
        }
    }

    fn counts(&self) -> (u64, u64) {
        (self.n_run.load(Relaxed), self.n_refused.load(Relaxed))
    }
}

/// A thread that slept on would be a deadlock.
#[test]
fn sleepers_wake_for_tasks_and_for_the_end() {
    explore(2, || {
        let pool = Pool::new(2);
        let threads = [0, 1].map(|index| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.work(index))
        });
        (0..2).for_each(|_| pool.give());
        // All tasks that were given before the end are run, and by threads that are woken for them.
        while pool.counts().0 < 2 {
            thread::yield_now();
        }
        pool.close();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!((pool.counts(), pool.presence.n_live()), ((2, 0), 0));
    });
}

/// Each task is run or refused, whoever sees the end first.
#[test]
fn a_task_given_while_the_last_thread_leaves_is_not_lost() {
    explore(3, || {
        let pool = Pool::new(1);
        let (worker, giver) = (Arc::clone(&pool), Arc::clone(&pool));
        let worker = thread::spawn(move || worker.work(0));
        let giver = thread::spawn(move || (0..2).for_each(|_| giver.give()));
        pool.close();
        giver.join().unwrap();
        worker.join().unwrap();
        let (n_run, n_refused) = pool.counts();
        assert_eq!((n_run + n_refused, pool.n_queued.load(Relaxed)), (2, 0));
    });
}

/// A pool of processes: its state, which is what it has taken in, and its inbox.
struct Shared {
    state: Mutex<Vec<u64>>,
    inbox: Inbox<u64>,
}

impl Shared {
    /// As `shared.rs` submits a task: nobody waits for the lock.
    fn submit(&self, task: u64) {
        match self.state.try_lock() {
            Some(mut state) => {
                self.take_in(&mut state);
                state.push(task);
                drop(state);
                if self.inbox.has_new() {
                    self.pump();
                }
            }
            None => {
                self.inbox.push(task);
                self.pump();
            }
        }
    }

    fn pump(&self) {
        while let Some(mut state) = self.inbox.try_lock(&self.state) {
            self.take_in(&mut state);
            drop(state);
            if !self.inbox.has_new() {
                return;
            }
        }
    }

    fn take_in(&self, state: &mut Vec<u64>) {
        while let Some(task) = self.inbox.take() {
            state.push(task);
        }
    }
}

#[test]
fn no_task_is_left_in_the_inbox() {
    explore(3, || {
        let shared = Arc::new(Shared { state: Mutex::new(Vec::new()), inbox: Inbox::new() });
        let others = [2, 3].map(|task| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.submit(task))
        });
        shared.submit(1);
        others.into_iter().for_each(|other| other.join().unwrap());
        let mut taken_in = shared.state.lock().clone();
        taken_in.sort_unstable();
        assert_eq!(taken_in, [1, 2, 3]);
    });
}
