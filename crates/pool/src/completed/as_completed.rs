//! Tasks in the order in which they end.

use std::{
    fmt, iter,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use kernel::futex::Deadline;

use super::set::Set;
use crate::Task;

/// Yields `tasks` in the order in which they end. `next` blocks until the next one has ended.
///
/// # Examples
/// ```
/// use pool::{ThreadPool, as_completed};
/// let pool = ThreadPool::new(2)?;
/// let tasks = [3_u32, 4].map(|n| pool.apply_async(move || n * n, ()));
/// let mut squares: Vec<u32> = as_completed(tasks).map(|task| task.get()).collect::<Result<_, _>>()?;
/// squares.sort();
/// assert_eq!(squares, [9, 16]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn as_completed<R>(tasks: impl IntoIterator<Item = Task<R>>) -> AsCompleted<R> {
    let mut set = Set::default();
    tasks.into_iter().for_each(|task| set.insert(0, task));
    AsCompleted(set)
}

/// The iterator of [`as_completed`].
pub struct AsCompleted<R>(Set<R>);

impl<R> AsCompleted<R> {
    /// As `next`, for at most `timeout`; `None` if there is none left, or none has ended by then.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Task<R>> {
        self.next_before(Deadline::after(timeout))
    }

    /// Yields the tasks that end within `timeout` from now. Those that do not, stay.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use pool::{ThreadPool, as_completed};
    /// let pool = ThreadPool::new(2)?;
    /// let (quick, slow) = (pool.apply_async(|| 1, ()), pool.apply_async(|| 2, ()));
    /// let mut tasks = as_completed([quick, slow]);
    /// for task in tasks.within(Duration::from_secs(5)) {
    ///     println!("{}", task.get()?);
    /// }
    /// for late in tasks.into_pending() {
    ///     late.cancel();
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "timeout")]
    pub fn within(&mut self, timeout: Duration) -> impl Iterator<Item = Task<R>> {
        let deadline = Deadline::after(timeout);
        iter::from_fn(move || self.next_before(deadline))
    }

    /// Gives back the tasks that were not yielded, in the order given.
    pub fn into_pending(self) -> Vec<Task<R>> {
        self.0.into_tasks()
    }

    /// The tasks as a [`Stream`](futures_core::Stream), on any runtime. Dropped, it cancels no task.
    pub fn into_stream(self) -> AsCompletedStream<R> {
        AsCompletedStream(self)
    }

    fn next_before(&mut self, deadline: Option<Deadline>) -> Option<Task<R>> {
        self.0.wait(deadline).then(|| self.next()).flatten()
    }
}

/// The stream of [`AsCompleted::into_stream`].
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct AsCompletedStream<R>(AsCompleted<R>);

impl<R> futures_core::Stream for AsCompletedStream<R> {
    type Item = Task<R>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Task<R>>> {
        if self.0.0.poll(context.waker()) { Poll::Ready(self.0.next()) } else { Poll::Pending }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<R> Iterator for AsCompleted<R> {
    type Item = Task<R>;

    fn next(&mut self) -> Option<Task<R>> {
        self.0.next().map(|(_, task)| task)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len(), Some(self.0.len()))
    }
}

impl<R> ExactSizeIterator for AsCompleted<R> {}

impl<R> fmt::Debug for AsCompleted<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("pending", &self.0.len()).finish()
    }
}
