use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use kernel::futex::Deadline;
use parking_lot::Mutex;
use proc_core::Panic;

use super::shared::{self, Shared, Work};
use crate::{
    TaskError,
    task::{Core, Handle, next_id},
};

/// A task of a thread pool: what is to be called, and the place for its result, in one allocation.
///
/// Whoever takes the function out runs it: a thread that found the job in a queue, one that waits for it, or, in order
/// to drop it, one that cancels it. A job whose function is gone is passed over.
pub(super) struct Job<F, R> {
    work: Mutex<Option<F>>,
    core: Core<R>,
    /// The pool's address, to know its threads by; 0 for none.
    pool: usize,
}

impl<F, R> Job<F, R>
where
    F: FnOnce() -> R + Send,
    R: Send,
{
    pub(super) fn new(pool: &Arc<Shared>, f: F) -> Arc<Self> {
        Arc::new(Self { work: Mutex::new(Some(f)), core: Core::new(next_id()), pool: pool.address() })
    }

    /// One that no pool knows of.
    pub(super) fn unpooled(f: F) -> Arc<Self> {
        Arc::new(Self { work: Mutex::new(Some(f)), core: Core::new(next_id()), pool: 0 })
    }

    fn run_here(&self) -> Option<bool> {
        let f = self.work.lock().take()?;
        let result = caught(f);
        let succeeded = result.is_ok();
        self.core.complete(result);
        Some(succeeded)
    }
}

impl<F, R> Work for Job<F, R>
where
    F: FnOnce() -> R + Send,
    R: Send,
{
    fn run(&self) -> Option<bool> {
        self.run_here()
    }

    fn refuse(&self, why: TaskError) {
        let unused = self.work.lock().take();
        if unused.is_some() {
            self.core.complete(Err(why));
        }
    }
}

impl<F, R> Handle<R> for Job<F, R>
where
    F: FnOnce() -> R + Send,
    R: Send,
{
    fn core(&self) -> &Core<R> {
        &self.core
    }

    fn cancel(&self) -> bool {
        let unused = self.work.lock().take();
        unused.is_some() && self.core.complete(Err(TaskError::Cancelled))
    }

    fn wait(&self, deadline: Option<Deadline>) -> bool {
        // A thread that waits for its own pool must not wait for a task that waits for a thread.
        if !self.core.is_done() && shared::is_mine(self.pool) {
            self.run_here();
        }
        self.core.wait(deadline)
    }
}

/// Calls `f` with its panic caught.
pub(super) fn caught<R>(f: impl FnOnce() -> R) -> Result<R, TaskError> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| Panic::of(payload).into())
}
