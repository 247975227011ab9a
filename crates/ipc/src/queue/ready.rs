//! Queues in `wait_any`, and as futures.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use kernel::{wait::Bell, waker::wake};
use parking_lot::Mutex;
use proc_core::{Waitable, Watch};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Queue,
    patience::Patience,
    raw::Raw,
    reactor::{self, Notify, Registration, Wanted},
    ring::{Side, Stop},
    stop::{GetStop, PutStop},
};
use crate::{GetError, JoinableQueue, PutError, joinable::Item};

impl Raw {
    fn watch(self: &Arc<Self>, wanted: Wanted) -> io::Result<Watch<'_>> {
        let (bell, event) = Bell::new()?;
        let notify: Notify = Arc::new(move || bell.ring());
        let registration = Mutex::new(reactor::register(self, wanted, notify.clone())?);
        let is_ready = move || {
            let mut registration = registration.lock();
            // A forked child has none of its parent's threads.
            if !registration.is_made_here()
                && let Ok(fresh) = reactor::register(self, wanted, notify.clone())
            {
                *registration = fresh;
            }
            wanted.is_there(self)
        };
        Ok(Watch::Event { event, is_ready: Box::new(is_ready) })
    }
}

/// One side of a queue, to be waited for among other things: see [`Queue::readable`] and [`Queue::writable`].
#[derive(Clone, Copy, Debug)]
pub struct Readiness<'a> {
    raw: &'a Arc<Raw>,
    wanted: Wanted,
}

impl Waitable for Readiness<'_> {
    fn watch(&self) -> io::Result<Watch<'_>> {
        self.raw.watch(self.wanted)
    }
}

/// Ready when there is a message to get, or the queue is closed: as [`readable`](Queue::readable).
impl<T> Waitable for Queue<T> {
    fn watch(&self) -> io::Result<Watch<'_>> {
        self.raw.watch(Wanted::Side(Side::Items))
    }
}

/// Ready when there is an item to get, or the queue is closed: as [`readable`](JoinableQueue::readable).
impl<T> Waitable for JoinableQueue<T> {
    fn watch(&self) -> io::Result<Watch<'_>> {
        self.raw().watch(Wanted::Side(Side::Items))
    }
}

/// An operation that is tried again whenever its side of the queue may have become ready.
struct Retry<'a> {
    raw: &'a Arc<Raw>,
    wanted: Wanted,
    waker: Option<(Arc<Mutex<Arc<Waker>>>, Registration)>,
}

impl<'a> Retry<'a> {
    fn new(raw: &'a Arc<Raw>, wanted: Wanted) -> Self {
        Self { raw, wanted, waker: None }
    }

    /// Arranges for the task to be woken; then the operation must be tried once more.
    fn arm(&mut self, context: &Context<'_>) -> io::Result<()> {
        // Under the lock nothing of the waker's own runs.
        let fresh = Arc::new(context.waker().clone());
        if let Some((waker, _)) = self.waker.as_ref().filter(|(_, registration)| registration.is_made_here()) {
            let earlier = std::mem::replace(&mut *waker.lock(), fresh);
            drop(earlier);
            return Ok(());
        }
        let waker = Arc::new(Mutex::new(fresh));
        let current = waker.clone();
        let notify = move || {
            let waker = current.lock().clone();
            wake(Waker::clone(&waker));
        };
        let registration = reactor::register(self.raw, self.wanted, Arc::new(notify))?;
        self.waker = Some((waker, registration));
        Ok(())
    }

    fn poll<R, E>(
        &mut self,
        context: &Context<'_>,
        mut attempt: impl FnMut() -> Result<R, E>,
        waits: impl Fn(&E) -> bool,
        refused: impl FnOnce(io::ErrorKind) -> E,
    ) -> Poll<Result<R, E>> {
        match attempt() {
            Err(e) if waits(&e) => {}
            done => return Poll::Ready(done),
        }
        if let Err(e) = self.arm(context) {
            return Poll::Ready(Err(refused(e.kind())));
        }
        match attempt() {
            Err(e) if waits(&e) => Poll::Pending,
            done => Poll::Ready(done),
        }
    }
}

/// The future of [`Queue::get_async`] and [`JoinableQueue::get_async`].
#[must_use = "futures do nothing unless polled"]
pub struct Get<'a, R> {
    retry: Retry<'a>,
    attempt: Box<dyn Fn() -> Result<R, GetStop> + Send + 'a>,
}

impl<R> Future for Get<'_, R> {
    type Output = Result<R, GetError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { retry, attempt } = self.get_mut();
        let waits = |stop: &GetStop| matches!(stop, GetStop::Empty);
        retry.poll(context, attempt, waits, GetStop::System).map_err(GetStop::into_get_error)
    }
}

impl<R> fmt::Debug for Get<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Get").finish_non_exhaustive()
    }
}

/// The future of [`Queue::put_async`] and [`JoinableQueue::put_async`].
#[must_use = "futures do nothing unless polled"]
pub struct Put<'a, T> {
    retry: Retry<'a>,
    attempt: Box<AttemptToPut<'a, T>>,
    message: Option<T>,
}

type AttemptToPut<'a, T> = dyn Fn(&T) -> Result<(), PutStop> + Send + 'a;

// The message is moved out at the end, never pinned.
impl<T> Unpin for Put<'_, T> {}

impl<T> Future for Put<'_, T> {
    type Output = Result<(), PutError<T>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { retry, attempt, message } = self.get_mut();
        let value = message.as_ref().expect("a future is not polled after its end");
        let waits = |stop: &PutStop| matches!(stop, PutStop::Full);
        let result = std::task::ready!(retry.poll(context, || attempt(value), waits, PutStop::System));
        let message = message.take().expect("still there, see above");
        Poll::Ready(result.map_err(|stop| stop.into_put_error(message)))
    }
}

impl<T> fmt::Debug for Put<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Put").finish_non_exhaustive()
    }
}

/// The future of [`JoinableQueue::join_async`].
#[must_use = "futures do nothing unless polled"]
pub struct Join<'a> {
    retry: Retry<'a>,
}

impl Future for Join<'_> {
    type Output = Result<(), GetError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let retry = &mut self.get_mut().retry;
        let raw = retry.raw;
        let attempt = || if raw.is_all_done()? { Ok(()) } else { Err(Stop::WouldBlock) };
        let waits = |stop: &Stop| matches!(stop, Stop::WouldBlock);
        retry.poll(context, attempt, waits, Stop::System).map_err(|stop| GetStop::from(stop).into_get_error())
    }
}

impl fmt::Debug for Join<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Join").finish_non_exhaustive()
    }
}

impl<T> Queue<T> {
    /// What is ready when there is a message to get, or the queue is closed, for [`wait_any`](proc_core::wait_any).
    pub fn readable(&self) -> Readiness<'_> {
        Readiness { raw: &self.raw, wanted: Wanted::Side(Side::Items) }
    }

    /// What is ready when there is room for a message, or the queue is closed, for [`wait_any`](proc_core::wait_any).
    ///
    /// # Examples
    /// ```
    /// use ipc::Queue;
    /// use proc_core::wait_any;
    ///
    /// let (jobs, results) = (Queue::new(1)?, Queue::<u32>::new(1)?);
    /// jobs.put(1)?;
    /// results.put(2)?;
    /// // Whichever comes first: room for a job, or a result.
    /// for ready in wait_any(&[&jobs.writable(), &results.readable()], None)? {
    ///     match ready {
    ///         0 => jobs.try_put(3)?,
    ///         _ => assert_eq!(results.try_get()?, 2),
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn writable(&self) -> Readiness<'_> {
        Readiness { raw: &self.raw, wanted: Wanted::Side(Side::Space) }
    }
}

impl<T> JoinableQueue<T> {
    /// As [`Queue::readable`], of items.
    pub fn readable(&self) -> Readiness<'_> {
        Readiness { raw: self.raw(), wanted: Wanted::Side(Side::Items) }
    }

    /// As [`Queue::writable`].
    pub fn writable(&self) -> Readiness<'_> {
        Readiness { raw: self.raw(), wanted: Wanted::Side(Side::Space) }
    }

    /// What is ready when every item that was put has been dealt with, for [`wait_any`](proc_core::wait_any).
    pub fn joinable(&self) -> Readiness<'_> {
        Readiness { raw: self.raw(), wanted: Wanted::AllDone }
    }

    /// Waits until every item that was put has been dealt with; a future, for any runtime or none. Dropped before its
    /// end, it changes nothing.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn join_async(&self) -> Join<'_> {
        Join { retry: Retry::new(self.raw(), Wanted::AllDone) }
    }
}

impl<T: DeserializeOwned> Queue<T> {
    /// Takes the next message; a future, for any runtime or none. Dropped before its end, it has taken nothing.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_async(&self) -> Get<'_, T> {
        let attempt = Box::new(|| self.get_message(Patience::Now));
        Get { retry: Retry::new(&self.raw, Wanted::Side(Side::Items)), attempt }
    }
}

impl<T: DeserializeOwned> JoinableQueue<T> {
    /// Borrows the next item; a future, for any runtime or none. Dropped before its end, it has taken nothing.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_async(&self) -> Get<'_, Item<T>> {
        let attempt = Box::new(|| self.lend(Patience::Now));
        Get { retry: Retry::new(self.raw(), Wanted::Side(Side::Items)), attempt }
    }
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// Puts a message; a future, for any runtime or none. Dropped before its end, it has put nothing.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_async(&self, message: T) -> Put<'_, T> {
        let attempt = Box::new(|value: &T| self.put_message(value, Patience::Now));
        Put { retry: Retry::new(&self.raw, Wanted::Side(Side::Space)), attempt, message: Some(message) }
    }
}

impl<T: Serialize + DeserializeOwned> JoinableQueue<T> {
    /// Puts an item; a future, for any runtime or none. Dropped before its end, it has put nothing.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_async(&self, item: T) -> Put<'_, T> {
        let attempt = Box::new(|value: &T| self.raw().put_value(value, Patience::Now));
        Put { retry: Retry::new(self.raw(), Wanted::Side(Side::Space)), attempt, message: Some(item) }
    }
}
