//! Tasks that were given while another thread had the pool's lock.
//!
//! No giver waits for that lock. A giver puts its task into the inbox, runs a fence, and tries the lock; if that fails, the
//! giver returns. The lock's holder gives it back, runs a fence, and looks into the inbox. Of two fences (`SeqCst`) one
//! comes first: if the giver's, the holder sees the task; if the holder's, the giver finds the lock free.

use std::sync::atomic::Ordering::SeqCst;

use crate::platform::{Injector, Mutex, MutexGuard, Steal, fence};

pub(super) struct Inbox<T>(Injector<T>);

impl<T> Inbox<T> {
    pub(super) fn new() -> Self {
        Self(Injector::new())
    }

    /// Puts a task in; [`try_lock`](Self::try_lock) afterwards.
    pub(super) fn push(&self, task: T) {
        self.0.push(task);
    }

    /// The oldest task.
    pub(super) fn take(&self) -> Option<T> {
        loop {
            match self.0.steal() {
                Steal::Success(task) => return Some(task),
                Steal::Empty => return None,
                Steal::Retry => {}
            }
        }
    }

    /// Tries the lock under which tasks are taken; if it fails, the holder sees what this thread has put in.
    pub(super) fn try_lock<'a, S>(&self, state: &'a Mutex<S>) -> Option<MutexGuard<'a, S>> {
        // Pairs with that of `has_new`.
        fence(SeqCst);
        state.try_lock()
    }

    /// Whether there are tasks. A thread that has had the lock calls it after giving the lock back.
    pub(super) fn has_new(&self) -> bool {
        // Pairs with that of `try_lock`.
        fence(SeqCst);
        !self.0.is_empty()
    }

    /// Whether there are none now; a hint, unless the lock is held.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
