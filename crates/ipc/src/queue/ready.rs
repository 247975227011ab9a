//! Queues in `wait_any`, and as futures.

use std::{
    fmt,
    future::Future,
    io,
    os::fd::OwnedFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use kernel::fds::above_standard_streams;
use nix::sys::eventfd::{EfdFlags, EventFd};
use parking_lot::Mutex;
use proc_core::{Waitable, Watch};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Queue,
    patience::Patience,
    raw::Raw,
    reactor::{self, Registration},
    ring::Side,
    stop::{GetStop, PutStop},
};
use crate::{GetError, JoinableQueue, PutError, joinable::Item};

impl Raw {
    /// Watches for messages.
    pub(crate) fn watch(self: &Arc<Self>) -> io::Result<Watch<'_>> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let event = above_standard_streams(OwnedFd::from(event))?;
        let bell = event.try_clone()?;
        let ring = move || {
            // Full means rung often enough.
            let _ = nix::unistd::write(&bell, &1u64.to_ne_bytes());
        };
        let registration = reactor::register(self, Side::Items, Arc::new(ring))?;
        let is_ready = move || {
            let _until_dropped = &registration;
            self.is_ready(Side::Items)
        };
        Ok(Watch::Event { event, is_ready: Box::new(is_ready) })
    }
}

/// Ready when there is a message to get, or the queue is closed.
impl<T> Waitable for Queue<T> {
    fn watch(&self) -> io::Result<Watch<'_>> {
        self.raw.watch()
    }
}

/// Ready when there is an item to get, or the queue is closed.
impl<T> Waitable for JoinableQueue<T> {
    fn watch(&self) -> io::Result<Watch<'_>> {
        self.raw().watch()
    }
}

/// An operation that is tried again whenever its side of the queue may have become ready.
struct Retry<'a> {
    raw: &'a Arc<Raw>,
    side: Side,
    waker: Option<(Arc<Mutex<Waker>>, Registration)>,
}

impl<'a> Retry<'a> {
    fn new(raw: &'a Arc<Raw>, side: Side) -> Self {
        Self { raw, side, waker: None }
    }

    /// Sees to it that the task is woken; then the operation must be tried once more.
    fn arm(&mut self, context: &Context<'_>) -> io::Result<()> {
        if let Some((waker, _)) = &self.waker {
            waker.lock().clone_from(context.waker());
            return Ok(());
        }
        let waker = Arc::new(Mutex::new(context.waker().clone()));
        let wake = waker.clone();
        let registration = reactor::register(self.raw, self.side, Arc::new(move || wake.lock().wake_by_ref()))?;
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

/// The future of [`Queue::put_async`].
#[must_use = "futures do nothing unless polled"]
pub struct Put<'a, T> {
    retry: Retry<'a>,
    queue: &'a Queue<T>,
    message: Option<T>,
}

// The message is moved out at the end, never pinned.
impl<T> Unpin for Put<'_, T> {}

impl<T: Serialize + DeserializeOwned> Future for Put<'_, T> {
    type Output = Result<(), PutError<T>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { retry, queue, message } = self.get_mut();
        let value = message.as_ref().expect("a future is not polled after its end");
        let attempt = || queue.put_message(value, Patience::Now);
        let waits = |stop: &PutStop| matches!(stop, PutStop::Full);
        let result = std::task::ready!(retry.poll(context, attempt, waits, PutStop::System));
        let message = message.take().expect("still there, see above");
        Poll::Ready(result.map_err(|stop| stop.into_put_error(message)))
    }
}

impl<T> fmt::Debug for Put<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Put").finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned> Queue<T> {
    /// Takes the next message; a future, for any runtime or none. Dropped before its end, it has taken nothing.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_async(&self) -> Get<'_, T> {
        let attempt = Box::new(|| self.get_message(Patience::Now));
        Get { retry: Retry::new(&self.raw, Side::Items), attempt }
    }
}

impl<T: DeserializeOwned> JoinableQueue<T> {
    /// Borrows the next item; a future, for any runtime or none. Dropped before its end, it has taken nothing.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_async(&self) -> Get<'_, Item<T>> {
        let attempt = Box::new(|| self.lend(Patience::Now));
        Get { retry: Retry::new(self.raw(), Side::Items), attempt }
    }
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// Puts a message; a future, for any runtime or none. Dropped before its end, it has put nothing.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_async(&self, message: T) -> Put<'_, T> {
        Put { retry: Retry::new(&self.raw, Side::Space), queue: self, message: Some(message) }
    }
}
