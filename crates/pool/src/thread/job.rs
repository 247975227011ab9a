//! A task of a pool of threads.

use std::sync::Arc;

use kernel::futex::Deadline;
use parking_lot::Mutex;

use super::{
    caught::caught,
    shared::{self, Ran, ThreadWork, Threads},
};
use crate::{
    TaskError,
    label::Label,
    stream::Chunk,
    task::{Core, Handle, next_id},
};

/// A task of a thread pool: what is to be called, and the place for its result, in one allocation.
///
/// The thread that takes the function out runs it: one that found the job in a queue, or one that waits for it. A thread
/// that cancels the job takes it out to drop it. A job whose function is gone is passed over.
pub(super) struct ThreadJob<F, R> {
    work: Mutex<Option<F>>,
    core: Core<R>,
    pool: Owner,
    /// How many calls ended with a value, and how many without.
    count: fn(&Result<R, TaskError>) -> Ran,
    label: Label,
}

/// Whose threads run a job.
enum Owner {
    /// The pool at this address.
    Pool(usize),
    /// A scope: any thread that waits for one of its tasks may run it.
    Scope,
}

impl Owner {
    fn is_mine(&self) -> bool {
        match self {
            Self::Pool(address) => shared::is_mine(*address),
            Self::Scope => true,
        }
    }
}

impl<F, R> ThreadJob<F, R>
where
    F: FnOnce() -> R + Send,
    R: Send,
{
    pub(super) fn new(pool: &Arc<Threads>, label: Label, f: F) -> Arc<Self> {
        Self::with(Owner::Pool(pool.address()), label, f, count_one)
    }

    /// One of a scope.
    pub(super) fn scoped(f: F) -> Arc<Self> {
        Self::with(Owner::Scope, Label::of(&f), f, count_one)
    }

    fn with(pool: Owner, label: Label, f: F, count: fn(&Result<R, TaskError>) -> Ran) -> Arc<Self> {
        Arc::new(Self { work: Mutex::new(Some(f)), core: Core::new(next_id()), pool, count, label })
    }

    fn run_here(&self) -> Option<Ran> {
        let f = self.work.lock().take()?;
        let result = self.label.traced(self.core.id, || caught(f));
        let ran = (self.count)(&result);
        self.core.complete(result);
        Some(ran)
    }
}

impl<F, R> ThreadJob<F, Chunk<R>>
where
    F: FnOnce() -> Chunk<R> + Send,
    R: Send,
{
    /// One on many items.
    pub(super) fn chunk(pool: &Arc<Threads>, label: Label, f: F) -> Arc<Self> {
        let count = |result: &Result<Chunk<R>, TaskError>| match result {
            Ok(chunk) => Ran { n_done: chunk.values.len() as u64, n_failed: chunk.failures.len() as u64 },
            Err(_) => Ran { n_done: 0, n_failed: 1 },
        };
        Self::with(Owner::Pool(pool.address()), label, f, count)
    }
}

fn count_one<R>(result: &Result<R, TaskError>) -> Ran {
    Ran { n_done: result.is_ok().into(), n_failed: result.is_err().into() }
}

impl<F, R> ThreadWork for ThreadJob<F, R>
where
    F: FnOnce() -> R + Send,
    R: Send,
{
    fn run(&self) -> Option<Ran> {
        self.run_here()
    }

    fn untaken_panic(&self) -> Option<TaskError> {
        self.core.untaken_panic()
    }

    fn refuse(&self, why: TaskError) {
        let unused = self.work.lock().take();
        if unused.is_some() {
            self.core.complete(Err(why));
        }
    }
}

impl<F, R> Handle<R> for ThreadJob<F, R>
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

    fn is_running(&self) -> bool {
        self.work.lock().is_none() && !self.core.is_done()
    }

    fn wait(&self, deadline: Option<Deadline>) -> bool {
        // A thread that waits for its own pool must not wait for a task that waits for a thread; but one that waits only
        // for a while must not begin with what may take longer.
        if deadline.is_none() && !self.core.is_done() && self.pool.is_mine() {
            self.run_here();
        }
        self.core.wait(deadline)
    }
}
