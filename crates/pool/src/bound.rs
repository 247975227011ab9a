//! A bound on the tasks that a pool has taken and that have not ended.

use std::{fmt, sync::Arc};

use parking_lot::{Condvar, Mutex};

/// As many permits as there may be tasks at a time.
pub(crate) struct Bound {
    n_free: Mutex<usize>,
    freed: Condvar,
}

/// The right to one task, given back by its drop.
pub(crate) struct Permit(Arc<Bound>);

impl Bound {
    pub(crate) fn new(n_tasks: usize) -> Arc<Self> {
        Arc::new(Self { n_free: Mutex::new(n_tasks), freed: Condvar::new() })
    }

    /// Blocks until there is a permit.
    pub(crate) fn acquire(self: &Arc<Self>) -> Permit {
        let mut n_free = self.n_free.lock();
        while *n_free == 0 {
            self.freed.wait(&mut n_free);
        }
        *n_free -= 1;
        Permit(self.clone())
    }

    pub(crate) fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let mut n_free = self.n_free.lock();
        *n_free = n_free.checked_sub(1)?;
        Some(Permit(self.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *self.0.n_free.lock() += 1;
        self.0.freed.notify_one();
    }
}

/// The pool has as many tasks as it may; this gives back the function and the arguments.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Full<F, A>(pub F, pub A);

impl<F, A> fmt::Debug for Full<F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Full(..)")
    }
}

impl<F, A> fmt::Display for Full<F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the pool has as many tasks as it may")
    }
}

impl<F, A> std::error::Error for Full<F, A> {}
