//! Where a task's result is put, and how its end is waited for.

use std::{
    sync::atomic::{
        AtomicU32,
        Ordering::{Acquire, Relaxed, Release},
    },
    task::Waker,
};

use crossbeam_utils::Backoff;
use kernel::{
    futex::{self, Deadline, Wait},
    waker::wake,
};
use parking_lot::Mutex;
use proc_core::Panic;

use crate::TaskError;

/// A place for one result.
///
/// | `state` | meaning | which thread moves it there |
/// |---|---|---|
/// | 0 | pending | |
/// | `SLEEPERS` | pending, and a thread may sleep on the word | a sleeper, from 0 |
/// | `DONE`, with `SUCCEEDED` or without | the result is, or was, in the slot; for good | the thread that stores the first result, under the slot's lock |
///
/// Orderings: the end is a `Release` swap and is read by `Acquire`: a thread that finds the task done sees what the task did. A
/// sleeper's own mark is `Relaxed`, since the kernel compares the word before it sleeps; a failed one is `Acquire`, as it may have
/// found the end. The result itself is taken under the lock.
pub(crate) struct Core<R> {
    pub(crate) id: u64,
    pub(super) state: AtomicU32,
    slot: Mutex<Slot<R>>,
}

const SLEEPERS: u32 = 1;
pub(super) const DONE: u32 = 2;
pub(super) const SUCCEEDED: u32 = 4;

/// Whether a result was stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    /// There was one already.
    No,
    Yes,
    /// Yes, and there are threads to [`wake`](Core::wake).
    Sleepers,
}

type Callback<R> = Box<dyn FnOnce(&Result<R, TaskError>) + Send>;

struct Slot<R> {
    result: Option<Result<R, TaskError>>,
    /// Most tasks have none: of many that are under way, each takes as little memory as it can.
    listeners: Option<Box<Listeners<R>>>,
}

/// What is to be called or woken with the result.
struct Listeners<R> {
    callbacks: Vec<Callback<R>>,
    wakers: Vec<Waker>,
    /// The waker of the future that polls the task itself.
    poller: Option<Waker>,
}

impl<R> Slot<R> {
    fn listeners(&mut self) -> &mut Listeners<R> {
        let none = || Box::new(Listeners { callbacks: Vec::new(), wakers: Vec::new(), poller: None });
        self.listeners.get_or_insert_with(none)
    }
}

impl<R> Core<R> {
    pub(crate) fn new(id: u64) -> Self {
        Self { id, state: AtomicU32::new(0), slot: Mutex::new(Slot { result: None, listeners: None }) }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state.load(Acquire) & DONE != 0
    }

    /// Stores the result, unless there was one: the first wins, and this tells whether it was this one. Callbacks run
    /// here and now.
    pub(crate) fn complete(&self, mut result: Result<R, TaskError>) -> bool {
        loop {
            match self.complete_unless_awaited(result) {
                Ok(stored) => {
                    if stored == Stored::Sleepers {
                        self.wake();
                    }
                    return stored != Stored::No;
                }
                Err(given_back) => result = given_back,
            }
            let callbacks = std::mem::take(&mut self.slot.lock().listeners().callbacks);
            for callback in callbacks {
                let _ = Panic::catch(|| callback(&result));
            }
        }
    }

    /// Stores the result, unless there was one; gives it back if there are callbacks, which are to see it first.
    pub(crate) fn complete_unless_awaited(&self, result: Result<R, TaskError>) -> Result<Stored, Result<R, TaskError>> {
        let mut slot = self.slot.lock();
        if self.is_done() {
            drop(slot);
            discard(result);
            return Ok(Stored::No);
        }
        if slot.listeners.as_ref().is_some_and(|listeners| !listeners.callbacks.is_empty()) {
            return Err(result);
        }
        let done = if result.is_ok() { DONE | SUCCEEDED } else { DONE };
        slot.result = Some(result);
        let listeners = slot.listeners.take();
        // Under the lock, so that a thread that looks at the slot sees the word and the result agree.
        let before = self.state.swap(done, Release);
        drop(slot);
        if let Some(listeners) = listeners {
            listeners.wakers.into_iter().chain(listeners.poller).for_each(wake);
        }
        Ok(if before == SLEEPERS { Stored::Sleepers } else { Stored::Yes })
    }

    /// Wakes the threads that sleep until there is a result.
    pub(crate) fn wake(&self) {
        futex::wake(&self.state, u32::MAX);
    }

    /// The panic that it ended with, if no waiter has taken that.
    pub(crate) fn untaken_panic(&self) -> Option<TaskError> {
        match &self.slot.lock().result {
            Some(Err(why @ TaskError::Panicked { .. })) => Some(why.clone()),
            _ => None,
        }
    }

    pub(crate) fn take(&self) -> Result<R, TaskError> {
        self.slot.lock().result.take().unwrap_or(Err(TaskError::Taken))
    }

    pub(super) fn on_done(&self, callback: Callback<R>) {
        let mut slot = self.slot.lock();
        if !self.is_done() {
            slot.listeners().callbacks.push(callback);
        } else if let Some(result) = &slot.result {
            let _ = Panic::catch(|| callback(result));
        }
    }

    /// True if it is done; otherwise `waker` is woken once it is.
    pub(crate) fn notify(&self, waker: &Waker) -> bool {
        let mut slot = self.slot.lock();
        let done = self.is_done();
        if !done {
            let wakers = &mut slot.listeners().wakers;
            if !wakers.iter().any(|w| w.will_wake(waker)) {
                wakers.push(waker.clone());
            }
        }
        done
    }

    /// For people; `None` while the slot is in use, as the thread that uses it may call this.
    pub(super) fn n_wakers(&self) -> Option<usize> {
        self.slot.try_lock().map(|slot| slot.listeners.as_ref().map_or(0, |listeners| listeners.wakers.len()))
    }

    /// Takes back what [`notify`](Self::notify) was told.
    pub(crate) fn forget(&self, waker: &Waker) {
        if let Some(listeners) = &mut self.slot.lock().listeners {
            listeners.wakers.retain(|w| !w.will_wake(waker));
        }
    }

    /// As [`notify`](Self::notify), for the owner of the task: of several wakers only the last is woken.
    pub(crate) fn poll(&self, waker: &Waker) -> bool {
        let mut slot = self.slot.lock();
        let done = self.is_done();
        if !done {
            slot.listeners().poller = Some(waker.clone());
        }
        done
    }

    /// Blocks until it is done (true) or the deadline has passed (false): spins a little, then sleeps.
    pub(crate) fn wait(&self, deadline: Option<Deadline>) -> bool {
        let backoff = Backoff::new();
        while !self.is_done() && !backoff.is_completed() {
            if passed(deadline) {
                return false;
            }
            backoff.snooze();
        }
        self.sleep(deadline)
    }

    /// As [`wait`](Self::wait), without spinning.
    pub(crate) fn sleep(&self, deadline: Option<Deadline>) -> bool {
        loop {
            match self.state.compare_exchange(0, SLEEPERS, Relaxed, Acquire) {
                Err(state) if state & DONE != 0 => return true,
                _ => {
                    if futex::wait(&self.state, SLEEPERS, deadline) == Wait::TimedOut {
                        return self.is_done();
                    }
                }
            }
        }
    }
}

/// Ends a value that nobody takes, or wants any more. What panics in its drop does so on a thread that has other tasks to care for.
pub(crate) fn discard<T>(value: T) {
    let _ = Panic::catch(|| drop(value));
}

impl<R> Drop for Core<R> {
    fn drop(&mut self) {
        if let Some(result) = self.slot.get_mut().result.take() {
            discard(result);
        }
    }
}

/// Whether there is a deadline and it has passed.
pub(crate) fn passed(deadline: Option<Deadline>) -> bool {
    deadline.is_some_and(|deadline| deadline.has_passed())
}
