//! Tasks that borrow.

use std::{collections::VecDeque, fmt, sync::Arc, thread, time::Duration};

use kernel::futex::Deadline;
use parking_lot::{Condvar, Mutex};

use super::{
    job::{Job, caught},
    shared::Work,
};
use crate::{CallOnce, TaskError, task::Handle};

/// Gives tasks that may borrow to threads; see [`ThreadPool::scope`](crate::ThreadPool::scope).
pub struct Scope<'scope, 'env: 'scope> {
    threads: &'scope thread::Scope<'scope, 'env>,
    queue: Arc<Queue<'scope>>,
    n_workers: usize,
}

struct Queue<'scope> {
    state: Mutex<State<'scope>>,
    changed: Condvar,
}

struct State<'scope> {
    jobs: VecDeque<Arc<dyn Work + 'scope>>,
    n_threads: usize,
    n_idle: usize,
    closed: bool,
}

pub(super) fn run<'env, R>(n_workers: usize, f: impl for<'scope> FnOnce(&Scope<'scope, 'env>) -> R) -> R {
    thread::scope(|threads| {
        let state = State { jobs: VecDeque::new(), n_threads: 0, n_idle: 0, closed: false };
        let queue = Arc::new(Queue { state: Mutex::new(state), changed: Condvar::new() });
        f(&Scope { threads, queue, n_workers })
    })
}

impl<'scope> Scope<'scope, '_> {
    /// Has a thread of the scope run `f(args…)`.
    ///
    /// If no thread can be started, the calling one runs it here and now.
    pub fn apply_async<F, A>(&self, f: F, args: A) -> ScopedTask<'scope, F::Output>
    where
        F: CallOnce<A> + Send + 'scope,
        A: Send + 'scope,
        F::Output: Send + 'scope,
    {
        let job = Job::unpooled(move || f.call_once(args));
        let mut state = self.queue.state.lock();
        state.jobs.push_back(job.clone());
        if state.n_idle >= state.jobs.len() {
            self.queue.changed.notify_one();
        } else if state.n_threads < self.n_workers {
            let queue = self.queue.clone();
            let thread = thread::Builder::new().name(format!("scope-{}", state.n_threads));
            if thread.spawn_scoped(self.threads, move || queue.work()).is_ok() {
                state.n_threads += 1;
            } else if state.n_threads == 0 {
                drop(state);
                job.run();
            }
        }
        ScopedTask(job)
    }
}

impl Drop for Scope<'_, '_> {
    fn drop(&mut self) {
        self.queue.state.lock().closed = true;
        self.queue.changed.notify_all();
    }
}

impl Queue<'_> {
    fn work(&self) {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                let _ = caught(move || job.run());
                state = self.state.lock();
            } else if state.closed {
                return;
            } else {
                state.n_idle += 1;
                self.changed.wait(&mut state);
                state.n_idle -= 1;
            }
        }
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("n_workers", &self.n_workers).finish_non_exhaustive()
    }
}

/// A [`Task`](crate::Task) that may borrow.
#[must_use = "a task's failure is seen only by who looks at its result"]
pub struct ScopedTask<'scope, R>(Arc<dyn Handle<R> + 'scope>);

impl<R> ScopedTask<'_, R> {
    /// Waits for the result and takes it. Inside a task of the same scope this may wait for ever: give its threads
    /// something to do first.
    ///
    /// # Errors
    /// As [`Task::get`](crate::Task::get).
    pub fn get(&self) -> Result<R, TaskError> {
        self.0.wait(None);
        self.0.core().take()
    }

    /// As [`Task::get_timeout`](crate::Task::get_timeout).
    ///
    /// # Errors
    /// As there.
    pub fn get_timeout(&self, timeout: Duration) -> Result<R, TaskError> {
        if self.0.wait(Deadline::after(timeout)) { self.0.core().take() } else { Err(TaskError::TimedOut) }
    }

    /// Whether the task has ended; never blocks.
    pub fn ready(&self) -> bool {
        self.0.core().is_done()
    }
}

impl<R> fmt::Debug for ScopedTask<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedTask").field("ready", &self.ready()).finish_non_exhaustive()
    }
}
