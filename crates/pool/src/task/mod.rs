//! One task, from the side of its waiter.

mod core;

use std::{
    fmt,
    future::Future,
    ops::Deref,
    pin::Pin,
    sync::{
        Arc,
        atomic::Ordering::{Acquire, Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use kernel::futex::Deadline;

pub(crate) use self::core::{Core, Stored, discard, passed};
use self::core::{DONE, SUCCEEDED};
use crate::TaskError;

/// A task that was given to a pool, and its result to come.
///
/// Dropping it does not cancel the task. It is also a [`Future`], for any runtime.
#[must_use = "a task's failure is seen only by who looks at its result"]
pub struct Task<R>(pub(crate) Arc<dyn Handle<R>>);

impl<R> Task<R> {
    /// Waits for the result and takes it.
    ///
    /// Blocks until the task has ended. A thread of a [`ThreadPool`](crate::ThreadPool) that waits here for a task of
    /// its own pool runs it itself if no thread has begun with it.
    ///
    /// # Errors
    /// Why there is no result. [`TaskError::Taken`] the second time.
    #[doc(alias = "result")]
    pub fn get(&self) -> Result<R, TaskError> {
        self.0.wait(None);
        self.0.core().take()
    }

    /// Waits for the result for at most `timeout`, and takes it. Zero does not block at all.
    ///
    /// # Errors
    /// As [`get`](Self::get); [`TaskError::TimedOut`] with [`ready`](Self::ready) false if there is none yet.
    pub fn get_timeout(&self, timeout: Duration) -> Result<R, TaskError> {
        if !self.wait_timeout(timeout) {
            return Err(TaskError::TimedOut);
        }
        self.0.core().take()
    }

    /// Blocks until the task has ended.
    pub fn wait(&self) {
        self.0.wait(None);
    }

    /// Blocks until the task has ended (true), for at most `timeout` (false).
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.0.wait(Deadline::after(timeout))
    }

    /// Whether the task has ended, with a result or without; never blocks.
    #[doc(alias = "done")]
    pub fn ready(&self) -> bool {
        self.0.core().is_done()
    }

    /// Whether a worker has begun with the task, and it has not ended; never blocks.
    pub fn running(&self) -> bool {
        self.0.is_running()
    }

    /// Whether the task ended with a result; `None` while it has not ended.
    pub fn successful(&self) -> Option<bool> {
        let state = self.0.core().state.load(Acquire);
        (state & DONE != 0).then_some(state == DONE | SUCCEEDED)
    }

    /// Ends the task without a result, if that can be done; true if its result is [`TaskError::Cancelled`] now.
    ///
    /// A task that has not begun never runs. One that is running is killed with its worker in a process pool, and runs
    /// on in a thread pool (false).
    pub fn cancel(&self) -> bool {
        self.0.cancel()
    }

    /// Cancels the task, as [`cancel`](Self::cancel) does, when the handle is dropped.
    ///
    /// # Examples
    /// ```
    /// let pool = pool::ThreadPool::new(1)?;
    /// let task = pool.apply_async(|| 7, ()).cancel_on_drop();
    /// assert_eq!(task.get()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancel_on_drop(self) -> CancelOnDrop<R> {
        CancelOnDrop(Some(self))
    }

    /// A number that tells it from the other tasks of this program.
    pub fn id(&self) -> u64 {
        self.0.core().id
    }

    /// What it was called when it was given, by [`TaskBuilder::name`](crate::TaskBuilder::name).
    pub fn name(&self) -> Option<&str> {
        self.0.name()
    }

    /// Calls `callback` with the result when there is one; at once if there is one already.
    ///
    /// It runs before any [`get`](Self::get) returns, on a thread of the pool, one after another; so it must not wait
    /// for this task. A panic in it is dropped. Not called for a result that was taken before.
    #[doc(alias = "add_done_callback")]
    pub fn on_done(&self, callback: impl FnOnce(&Result<R, TaskError>) + Send + 'static) {
        self.0.core().on_done(Box::new(callback));
    }
}

impl<R> fmt::Debug for Task<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("ready", &self.ready())
            .field("n_wakers", &self.0.core().n_wakers())
            .finish_non_exhaustive()
    }
}

impl<R> Future for Task<R> {
    type Output = Result<R, TaskError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.0.core().poll(context.waker()) { Poll::Ready(self.0.core().take()) } else { Poll::Pending }
    }
}

/// A [`Task`] that is cancelled when this is dropped, unless it has ended.
///
/// Also a [`Future`]: one that loses a race, such as against a timer, takes its task along.
#[must_use = "dropping it cancels the task"]
pub struct CancelOnDrop<R>(Option<Task<R>>);

impl<R> CancelOnDrop<R> {
    /// The task, which goes on whatever happens to its handle.
    pub fn into_task(mut self) -> Task<R> {
        self.0.take().expect("only this and the drop take it")
    }
}

impl<R> Deref for CancelOnDrop<R> {
    type Target = Task<R>;

    fn deref(&self) -> &Task<R> {
        self.0.as_ref().expect("only `into_task` and the drop take it")
    }
}

impl<R> Drop for CancelOnDrop<R> {
    fn drop(&mut self) {
        self.0.take().map(|task| task.cancel());
    }
}

impl<R> Future for CancelOnDrop<R> {
    type Output = Result<R, TaskError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let core = (**self).0.core();
        if core.poll(context.waker()) { Poll::Ready(core.take()) } else { Poll::Pending }
    }
}

impl<R> fmt::Debug for CancelOnDrop<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// What a pool offers behind a [`Task`].
pub(crate) trait Handle<R>: Send + Sync {
    fn core(&self) -> &Core<R>;

    /// Of most tasks there is none.
    fn name(&self) -> Option<&str> {
        None
    }

    fn cancel(&self) -> bool;

    /// Cancels it, unless it was begun.
    fn recall(&self) -> bool {
        false
    }

    fn is_running(&self) -> bool;

    /// Blocks until the task has ended (true) or the deadline has passed (false).
    fn wait(&self, deadline: Option<Deadline>) -> bool {
        self.core().wait(deadline)
    }
}

/// A task that failed before a pool had taken it.
pub(crate) struct FailedTask<R>(Core<R>);

impl<R: Send + 'static> FailedTask<R> {
    pub(crate) fn task(why: TaskError) -> Task<R> {
        let core = Core::new(next_id());
        core.complete(Err(why));
        Task(Arc::new(Self(core)))
    }
}

impl<R: Send> Handle<R> for FailedTask<R> {
    fn core(&self) -> &Core<R> {
        &self.0
    }

    fn cancel(&self) -> bool {
        false
    }

    fn is_running(&self) -> bool {
        false
    }
}

/// A fresh number for a task.
pub(crate) fn next_id() -> u64 {
    use std::{cell::Cell, sync::atomic::AtomicU64};
    // Handed out to threads in blocks, so that they do not fight over one word.
    const BLOCK: u64 = 1024;
    static NEXT_BLOCK: AtomicU64 = AtomicU64::new(0);
    thread_local!(static NEXT: Cell<u64> = const { Cell::new(0) });
    NEXT.with(|next| {
        let mut id = next.get();
        if id % BLOCK == 0 {
            // Relaxed: only that no two are the same.
            id = NEXT_BLOCK.fetch_add(BLOCK, Relaxed);
        }
        next.set(id + 1);
        id + 1
    })
}
