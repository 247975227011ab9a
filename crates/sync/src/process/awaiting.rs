//! Locks, semaphores and events as futures, for any runtime or none.
//!
//! If a task has to wait, a helper thread waits in its place, as any other thread does: so nothing is new in shared
//! memory, and a killed process disturbs the others as little as before. An operation that need not wait takes no thread.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use kernel::{at_fork, blocking::Blocking, futex::Deadline};

use super::{BoundedSemaphore, Event, Lock, LockGuard, Permit, Semaphore};
use crate::{OwnerDied, Plain};

/// A helper that waits in a task's place.
#[derive(Debug)]
struct Helper<R>(Option<Blocking<R>>);

impl<R: Send + 'static> Helper<R> {
    /// The helper's result, of one that has been sent or is sent now.
    fn poll<F>(&mut self, context: &Context<'_>, attempt: impl FnOnce() -> F) -> Poll<R>
    where
        F: FnMut(Deadline) -> Option<R> + Send + 'static,
    {
        let waker = context.waker();
        match self.0.as_mut().filter(|call| call.is_made_here()) {
            Some(call) => {
                let result = std::task::ready!(call.poll(waker));
                self.0 = None;
                return Poll::Ready(result);
            }
            None => match Blocking::start(waker, attempt()) {
                Ok(call) => self.0 = Some(call),
                // Without a thread, the task has to look again and again.
                Err(_) => waker.wake_by_ref(),
            },
        }
        Poll::Pending
    }
}

impl<T: Plain> Lock<T> {
    /// Locks, without blocking the thread; a future, for any runtime or none. The guard stays on the thread that polled
    /// last, as each does, so it cannot be kept across an `await` in a task that moves between threads.
    ///
    /// Pending for ever if the task's own thread holds the lock and does not release it.
    ///
    /// # Errors
    /// [`OwnerDied`], as [`lock`](Self::lock).
    ///
    /// # Crash safety
    /// The future holds nothing before its end: dropped, it neither keeps the lock nor delays others.
    ///
    /// # Examples
    /// ```
    /// use sync::process::Lock;
    ///
    /// async fn count(counter: &Lock<u64>) -> u64 {
    ///     let mut counter = counter.lock_async().await.unwrap();
    ///     *counter += 1;
    ///     *counter
    /// }
    /// ```
    pub fn lock_async(&self) -> Locking<'_, T> {
        Locking { lock: self, helper: Helper(None) }
    }
}

/// The future of [`Lock::lock_async`].
#[must_use = "futures do nothing unless polled"]
pub struct Locking<'a, T: Plain> {
    lock: &'a Lock<T>,
    helper: Helper<()>,
}

impl<'a, T: Plain> Future for Locking<'a, T> {
    type Output = Result<LockGuard<'a, T>, OwnerDied<LockGuard<'a, T>>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { lock, helper } = self.get_mut();
        loop {
            if let Some(locked) = lock.try_lock().transpose() {
                return Poll::Ready(locked);
            }
            std::task::ready!(helper.poll(context, || {
                let lock = lock.clone();
                move |deadline| lock.wait_while_held(deadline).then_some(())
            }));
        }
    }
}

impl<T: Plain> fmt::Debug for Locking<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Locking").field(self.lock).finish()
    }
}

impl Semaphore {
    /// Takes a permit as soon as there is one; a future, for any runtime or none.
    ///
    /// # Crash safety
    /// Dropped before its end, the future has taken no permit: one that came meanwhile is given back, at once or within
    /// twice the time that it has waited.
    ///
    /// # Examples
    /// ```
    /// use sync::process::Semaphore;
    ///
    /// async fn with_a_connection(connections: &Semaphore, work: impl Future<Output = ()>) {
    ///     let _permit = connections.acquire_async().await;
    ///     work.await;
    /// }
    /// ```
    pub fn acquire_async(&self) -> Acquiring<'_> {
        Acquiring { semaphore: self, helper: Helper(None) }
    }
}

impl BoundedSemaphore {
    /// As [`Semaphore::acquire_async`].
    pub fn acquire_async(&self) -> Acquiring<'_> {
        self.0.acquire_async()
    }
}

/// The future of [`Semaphore::acquire_async`].
#[must_use = "futures do nothing unless polled"]
#[derive(Debug)]
pub struct Acquiring<'a> {
    semaphore: &'a Semaphore,
    helper: Helper<Taken>,
}

/// A permit on its way from a helper to the task, given back when dropped.
#[derive(Debug)]
struct Taken {
    semaphore: Semaphore,
    generation: u32,
    is_kept: bool,
}

impl Drop for Taken {
    fn drop(&mut self) {
        // A forked child has a copy of its parent's, which is the parent's.
        if !self.is_kept && self.generation == at_fork::generation() {
            // As a dropped `Permit`.
            let _ = self.semaphore.release(1);
        }
    }
}

impl<'a> Future for Acquiring<'a> {
    type Output = Permit<'a>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Permit<'a>> {
        let Self { semaphore, helper } = self.get_mut();
        let semaphore: &'a Semaphore = semaphore;
        if helper.0.is_none()
            && let Some(permit) = semaphore.try_acquire()
        {
            return Poll::Ready(permit);
        }
        let mut taken = std::task::ready!(helper.poll(context, || {
            let semaphore = semaphore.clone();
            move |deadline: Deadline| {
                semaphore.acquire_timeout(deadline.remaining())?.forget();
                Some(Taken { semaphore: semaphore.clone(), generation: at_fork::generation(), is_kept: false })
            }
        }));
        taken.is_kept = true;
        Poll::Ready(semaphore.permit())
    }
}

impl Event {
    /// Waits until it is set, or has been set since this call; a future, for any runtime or none. Dropped before its end,
    /// it changes nothing.
    ///
    /// # Examples
    /// ```
    /// use sync::process::Event;
    ///
    /// async fn stop_at(shutdown: &Event) {
    ///     shutdown.wait_async().await;
    ///     println!("going home");
    /// }
    /// ```
    pub fn wait_async(&self) -> Waiting<'_> {
        Waiting { event: self, began: self.count(), helper: Helper(None) }
    }
}

/// The future of [`Event::wait_async`].
#[must_use = "futures do nothing unless polled"]
#[derive(Debug)]
pub struct Waiting<'a> {
    event: &'a Event,
    /// How often it had been set and cleared.
    began: u64,
    helper: Helper<()>,
}

impl Future for Waiting<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { event, began, helper } = self.get_mut();
        if event.has_been_set_since(*began) {
            return Poll::Ready(());
        }
        helper.poll(context, || {
            let (event, began) = (event.clone(), *began);
            move |deadline| event.wait_since(began, deadline).then_some(())
        })
    }
}
