//! Waiting until one of many tasks, or all of them, have ended; by blocking or as a future.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use kernel::futex::Deadline;

use super::{any_task::AnyTask, ready::Ready};
#[cfg(doc)]
use crate::Task;

/// What [`wait`] and [`wait_tasks`] wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// One task has ended.
    #[doc(alias = "FIRST_COMPLETED")]
    Any,
    /// Every task has ended.
    #[doc(alias = "ALL_COMPLETED")]
    All,
    /// One task has failed, or every task has ended.
    #[doc(alias = "FIRST_EXCEPTION")]
    FirstError,
}

/// Blocks until `until` holds of `tasks` (true), for at most `timeout` (false); `None` waits for as long as it takes.
///
/// The tasks may come from several pools. Which of them have ended, [`Task::ready`] tells, or [`wait_tasks`] instead.
///
/// # Examples
/// ```
/// use pool::{ThreadPool, Until, wait};
/// let pool = ThreadPool::new(2)?;
/// let (a, b) = (pool.apply_async(|| 1, ()), pool.apply_async(|| "two", ()));
/// assert!(wait(&[&a, &b], Until::All, None));
/// assert_eq!((a.get()?, b.get()?), (1, "two"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn wait(tasks: &[&dyn AnyTask], until: Until, timeout: Option<Duration>) -> bool {
    wait_for(tasks, until, timeout)
}

/// What [`wait_tasks`] found, each part in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waited<T> {
    /// Tasks that have ended, with a result or without.
    pub done: Vec<T>,
    /// Tasks that have not.
    pub not_done: Vec<T>,
}

/// Blocks until `until` holds of `tasks`, for at most `timeout`, and gives them back: those that have ended, and those
/// that have not. Leaves nothing behind in a task, so that it can be called again and again.
///
/// Takes tasks, or references to tasks: `&Task<R>`, or `&dyn AnyTask` for those of several results.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use pool::{ThreadPool, Until, wait_tasks};
/// let pool = ThreadPool::new(2)?;
/// let mut tasks: Vec<_> = (0..10).map(|n| pool.apply_async(move || n, ())).collect();
/// let mut sum = 0;
/// while !tasks.is_empty() {
///     let waited = wait_tasks(tasks, Until::Any, Some(Duration::from_secs(1)));
///     sum += waited.done.iter().map(|task| task.get()).sum::<Result<u32, _>>()?;
///     tasks = waited.not_done;
/// }
/// assert_eq!(sum, 45);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn wait_tasks<T: AnyTask>(
    tasks: impl IntoIterator<Item = T>,
    until: Until,
    timeout: Option<Duration>,
) -> Waited<T> {
    let tasks: Vec<T> = tasks.into_iter().collect();
    wait_for(&tasks, until, timeout);
    Waited::sort(tasks)
}

/// As [`wait_tasks`], as a future, for any runtime or none. Dropped before its end, it leaves nothing behind in a task; hand
/// it references to keep the tasks.
///
/// # Examples
/// ```
/// use pool::{Task, TaskError, Until, wait_tasks_async};
///
/// async fn first_of(a: &Task<u32>, b: &Task<u32>) -> Result<u32, TaskError> {
///     let waited = wait_tasks_async([a, b], Until::Any).await;
///     waited.done[0].get()
/// }
/// ```
pub fn wait_tasks_async<T: AnyTask>(tasks: impl IntoIterator<Item = T>, until: Until) -> WaitTasks<T> {
    WaitTasks { tasks: tasks.into_iter().collect(), until, waiting: None }
}

/// The future of [`wait_tasks_async`].
#[must_use = "futures do nothing unless polled"]
pub struct WaitTasks<T: AnyTask> {
    tasks: Vec<T>,
    until: Until,
    waiting: Option<Waiting>,
}

// The tasks are moved out at the end, never pinned.
impl<T: AnyTask> Unpin for WaitTasks<T> {}

impl<T: AnyTask> Future for WaitTasks<T> {
    type Output = Waited<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Waited<T>> {
        let Self { tasks, until, waiting } = self.get_mut();
        let holds = match waiting {
            None if until.holds(tasks) => true,
            None => waiting.insert(Waiting::begin(tasks, *until)).poll(tasks, context.waker()),
            Some(waiting) => waiting.poll(tasks, context.waker()),
        };
        if !holds {
            return Poll::Pending;
        }
        if let Some(waiting) = waiting.take() {
            waiting.end(tasks);
        }
        Poll::Ready(Waited::sort(mem::take(tasks)))
    }
}

impl<T: AnyTask> Drop for WaitTasks<T> {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.end(&self.tasks);
        }
    }
}

impl<T: AnyTask> fmt::Debug for WaitTasks<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitTasks").field("n_tasks", &self.tasks.len()).field("until", &self.until).finish()
    }
}

impl<T: AnyTask> Waited<T> {
    fn sort(tasks: Vec<T>) -> Self {
        let (done, not_done) = tasks.into_iter().partition(|task| task.successful().is_some());
        Self { done, not_done }
    }
}

impl Until {
    fn holds<T: AnyTask>(self, tasks: &[T]) -> bool {
        let mut ends = tasks.iter().map(|task| task.successful());
        match self {
            Self::Any => tasks.is_empty() || ends.any(|end| end.is_some()),
            Self::All => ends.all(|end| end.is_some()),
            Self::FirstError => {
                let n_done = tasks.len() - ends.clone().filter(Option::is_none).count();
                n_done == tasks.len() || ends.any(|end| end == Some(false))
            }
        }
    }
}

/// Tasks that have been told whom to wake. From then on only those that have ended are looked at.
struct Waiting {
    until: Until,
    ready: Arc<Ready>,
    wakers: Vec<Waker>,
    /// How many have not been seen to end.
    pending: usize,
}

impl Waiting {
    fn begin<T: AnyTask>(tasks: &[T], until: Until) -> Self {
        let ready = Arc::new(Ready::new(if until == Until::All { tasks.len() } else { 1 }));
        let wakers: Vec<Waker> = (0..tasks.len()).map(|index| ready.waker(index)).collect();
        for (index, task) in tasks.iter().enumerate() {
            if task.notify(&wakers[index]) {
                ready.push(index);
            }
        }
        Self { until, ready, wakers, pending: tasks.len() }
    }

    /// Blocks until `until` holds (true) or the deadline has passed (false).
    fn wait<T: AnyTask>(&mut self, tasks: &[T], deadline: Option<Deadline>) -> bool {
        while self.ready.wait(deadline) {
            if self.take(tasks) {
                return true;
            }
        }
        false
    }

    /// Whether `until` holds; if not, has `waker` woken when it may.
    fn poll<T: AnyTask>(&mut self, tasks: &[T], waker: &Waker) -> bool {
        while self.ready.poll(waker) {
            if self.take(tasks) {
                return true;
            }
        }
        false
    }

    /// Looks at what is ready: whether `until` holds now.
    fn take<T: AnyTask>(&mut self, tasks: &[T]) -> bool {
        if self.until == Until::All {
            self.pending = 0;
        }
        while self.pending > 0
            && let Some(index) = self.ready.pop()
        {
            self.pending -= 1;
            if self.until == Until::Any || tasks[index].successful() == Some(false) {
                return true;
            }
        }
        self.pending == 0
    }

    fn end<T: AnyTask>(self, tasks: &[T]) {
        if self.pending > 0 {
            tasks.iter().zip(&self.wakers).for_each(|(task, waker)| task.forget(waker));
        }
    }
}

fn wait_for<T: AnyTask>(tasks: &[T], until: Until, timeout: Option<Duration>) -> bool {
    let deadline = timeout.and_then(Deadline::after);
    let holds = until.holds(tasks);
    if holds || deadline.is_some_and(|deadline| deadline.has_passed()) {
        return holds;
    }
    let mut waiting = Waiting::begin(tasks, until);
    let holds = waiting.wait(tasks, deadline);
    waiting.end(tasks);
    holds
}
