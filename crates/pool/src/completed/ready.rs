//! Which of many tasks have ended.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    task::{Wake, Waker},
};

use kernel::{
    futex::{self, Deadline, Wait},
    waker::wake,
};
use parking_lot::Mutex;

/// Which tasks have ended and were not looked at yet. One thread at a time looks.
///
/// | word | meaning | which thread moves it |
/// |---|---|---|
/// | `pushed` | how often there was enough to look at; sleepers wait for it to change | the thread that pushes, after the index is in the list |
/// | `sleeping` | 1: the one thread that looks sleeps, or is about to | that thread |
///
/// All accesses are `SeqCst`: a thread that pushes counts, and then looks whether a thread sleeps; a sleeper says so, and then
/// has the kernel compare the count. In the single order of these, at least one sees the other.
pub(super) struct Ready {
    /// With so many there is something to look at.
    n_wanted: usize,
    state: Mutex<ReadyState>,
    pushed: AtomicU32,
    sleeping: AtomicU32,
}

#[derive(Default)]
struct ReadyState {
    indices: VecDeque<usize>,
    waker: Option<Waker>,
}

impl Ready {
    pub(super) fn new(n_wanted: usize) -> Self {
        Self { n_wanted, state: Mutex::default(), pushed: AtomicU32::new(0), sleeping: AtomicU32::new(0) }
    }

    pub(super) fn waker(self: &Arc<Self>, index: usize) -> Waker {
        Waker::from(Arc::new(ReadyWaker { ready: self.clone(), index }))
    }

    pub(super) fn push(&self, index: usize) {
        let waker = {
            let mut state = self.state.lock();
            state.indices.push_back(index);
            if !self.is_enough(&state) {
                return;
            }
            state.waker.take()
        };
        self.pushed.fetch_add(1, SeqCst);
        if self.sleeping.load(SeqCst) != 0 {
            futex::wake(&self.pushed, 1);
        }
        waker.into_iter().for_each(wake);
    }

    fn is_enough(&self, state: &ReadyState) -> bool {
        state.indices.len() >= self.n_wanted
    }

    pub(super) fn pop(&self) -> Option<usize> {
        self.state.lock().indices.pop_front()
    }

    pub(super) fn wait(&self, deadline: Option<Deadline>) -> bool {
        loop {
            let pushed = self.pushed.load(SeqCst);
            if self.is_enough(&self.state.lock()) {
                return true;
            }
            self.sleeping.store(1, SeqCst);
            let woken = futex::wait(&self.pushed, pushed, deadline);
            self.sleeping.store(0, SeqCst);
            if woken == Wait::TimedOut {
                return self.is_enough(&self.state.lock());
            }
        }
    }

    pub(super) fn poll(&self, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        let is_enough = self.is_enough(&state);
        if !is_enough {
            state.waker = Some(waker.clone());
        }
        is_enough
    }
}

/// Says that the task at an index has ended.
struct ReadyWaker {
    ready: Arc<Ready>,
    index: usize,
}

impl Wake for ReadyWaker {
    fn wake(self: Arc<Self>) {
        self.ready.push(self.index);
    }
}
