//! Tasks that borrow.
//!
//! A scope lives as long as what its tasks may borrow, so it cannot hold the threads, which `std` lets live for less. So
//! the threads look after themselves: one that begins with a task starts another if no idle one is left.

use std::{
    collections::VecDeque,
    fmt,
    marker::PhantomData,
    mem::{self, ManuallyDrop},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
    thread,
    time::Duration,
};

use kernel::futex::Deadline;
use parking_lot::{Condvar, Mutex};

use super::{caught::caught, job::ThreadJob, shared::ThreadWork};
use crate::{CallOnce, TaskError, task::Handle};

/// Gives tasks that may borrow to threads; see [`ThreadPool::scope`](crate::ThreadPool::scope).
pub struct Scope<'scope, 'env: 'scope> {
    state: Mutex<ScopeState<'scope>>,
    changed: Condvar,
    n_workers: usize,
    /// Invariant, as in `std`: `'scope` neither grows nor shrinks.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

#[derive(Default)]
struct ScopeState<'scope> {
    jobs: VecDeque<Arc<dyn ThreadWork + 'scope>>,
    n_threads: usize,
    n_idle: usize,
    closed: bool,
    /// Tasks that panicked.
    panicked: Vec<Arc<dyn ThreadWork + 'scope>>,
}

pub(super) fn run<'env, R>(n_workers: usize, f: impl for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R) -> R {
    let state = Mutex::new(ScopeState::default());
    // It is borrowed to its end, by itself: nothing may be dropped in place.
    let scope =
        ManuallyDrop::new(Scope { state, changed: Condvar::new(), n_workers, scope: PhantomData, env: PhantomData });
    let scope: &Scope<'_, 'env> = &scope;
    let result = catch_unwind(AssertUnwindSafe(|| {
        thread::scope(|threads| {
            scope.start(threads);
            let result = catch_unwind(AssertUnwindSafe(|| f(scope)));
            scope.state.lock().closed = true;
            scope.changed.notify_all();
            result
        })
    }));
    let left = mem::take(&mut *scope.state.lock());
    // Without a thread to run them, tasks run where they are given.
    debug_assert!(left.jobs.is_empty());
    let untaken = left.panicked.iter().find_map(|job| job.untaken_panic());
    match (result.and_then(|ended| ended), untaken) {
        (Err(panic), _) => resume_unwind(panic),
        (Ok(_), Some(panic)) => resume_unwind(Box::new(panic.to_string())),
        (Ok(result), None) => result,
    }
}

impl<'scope, 'env> Scope<'scope, 'env> {
    /// Runs `f(args…)` on a thread of the scope.
    ///
    /// If no thread can be started, the calling one runs it here and now.
    pub fn apply_async<F, A>(&self, f: F, args: A) -> ScopedTask<'scope, F::Output>
    where
        F: CallOnce<A> + Send + 'scope,
        A: Send + 'scope,
        F::Output: Send + 'scope,
    {
        let job = ThreadJob::scoped(move || f.call_once(args));
        let mut state = self.state.lock();
        if state.n_threads == 0 {
            drop(state);
            self.run(&(job.clone() as Arc<dyn ThreadWork + 'scope>));
        } else {
            state.jobs.push_back(job.clone());
            self.changed.notify_one();
        }
        ScopedTask(job)
    }

    /// Starts a thread, unless there are enough.
    fn start<'a>(&'a self, threads: &'a thread::Scope<'a, '_>) {
        let index = {
            let mut state = self.state.lock();
            if state.n_threads == self.n_workers {
                return;
            }
            state.n_threads += 1;
            state.n_threads - 1
        };
        let thread = thread::Builder::new().name(format!("scope-{index}"));
        if thread.spawn_scoped(threads, move || self.work(threads)).is_err() {
            self.state.lock().n_threads -= 1;
        }
    }

    fn work<'a>(&'a self, threads: &'a thread::Scope<'a, '_>) {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                // Another thread is to be there for the next task, while this one runs.
                let is_last = state.n_idle <= state.jobs.len();
                drop(state);
                if is_last {
                    self.start(threads);
                }
                self.run(&job);
                drop(job);
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

    fn run(&self, job: &Arc<dyn ThreadWork + 'scope>) {
        let ran = caught(|| job.run());
        if matches!(ran, Ok(Some(ran)) if ran.n_failed > 0) {
            self.state.lock().panicked.push(job.clone());
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
    /// Waits for the result and takes it. If no thread has begun with the task, the calling thread runs it.
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
