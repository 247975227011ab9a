//! Futures that wait for a queue between threads.

use std::{
    collections::BTreeMap,
    fmt, io,
    pin::Pin,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, Waker},
};

use kernel::{wait::Bell, waker::wake};
use parking_lot::Mutex;
use proc_core::Watch;

use crate::{GetError, PutError, TryGetError, TryPutError};

/// The futures to wake when one side of a queue may have become ready.
///
/// | `n_waiting` | meaning |
/// |---|---|
/// | 0 | no future waits |
/// | n | the list holds n wakers |
///
/// A future enters the list, which changes the count, and then tries once more. A thread that changes the queue looks at
/// the count after that. Each is in the total order of `SeqCst`, and so is the queue's own step: of two that happen at
/// once, the future sees the change, or the thread sees the count. (A monitor's step is made under its lock. Crossbeam's is a
/// `SeqCst` swap of its tail or head, which its `try_` methods look at after a `SeqCst` fence.)
///
/// All are woken, since one that is dropped would take the only wake-up with it.
#[derive(Default)]
pub(super) struct Wakers {
    n_waiting: AtomicUsize,
    list: Mutex<WakerList>,
}

#[derive(Default)]
struct WakerList {
    next_id: u64,
    wakers: BTreeMap<u64, Waker>,
}

impl Wakers {
    /// Wakes all futures that wait, each of which tries again.
    #[inline]
    pub(super) fn wake_all(&self) {
        // SeqCst: see the type.
        if self.n_waiting.load(Ordering::SeqCst) > 0 {
            self.wake_list();
        }
    }

    #[cold]
    fn wake_list(&self) {
        let mut list = self.list.lock();
        let wakers = std::mem::take(&mut list.wakers);
        // Relaxed: a look that still sees the old number finds an empty list.
        self.n_waiting.store(0, Ordering::Relaxed);
        drop(list);
        wakers.into_values().for_each(wake);
    }

    /// A future that repeats `attempt` until it gives something. Dropped before its end, it leaves nothing behind.
    pub(super) fn until<R, F: FnMut() -> Option<R> + Unpin>(&self, attempt: F) -> Until<'_, F> {
        Until { wakers: self, entry: None, attempt }
    }

    /// Rings an event at each change; `is_ready` says whether that side of the queue is ready then.
    pub(super) fn watch<'a>(&'a self, is_ready: impl Fn() -> bool + Send + 'a) -> io::Result<Watch<'a>> {
        let (bell, event) = Bell::new()?;
        let waker = Waker::from(Arc::new(bell));
        let entry = WakerEntry { wakers: self, id: self.enter(None, &waker) };
        // Each wake-up takes the waker out of the list.
        let look = move || {
            entry.wakers.enter(Some(entry.id), &waker);
            is_ready()
        };
        Ok(Watch::Event { event, is_ready: Box::new(look) })
    }

    /// A future that takes a value, now or after a wake-up.
    pub(super) async fn get_when_woken<R>(&self, try_get: impl Fn() -> Result<R, TryGetError>) -> Result<R, GetError> {
        let attempt = || match try_get() {
            Ok(value) => Some(Ok(value)),
            Err(TryGetError::Empty) => None,
            Err(_) => Some(Err(GetError::Closed)),
        };
        self.until(&attempt).await
    }

    /// A future that puts a value, now or after a wake-up.
    pub(super) async fn put_when_woken<T>(
        &self,
        value: T,
        try_put: impl Fn(T) -> Result<(), TryPutError<T>>,
    ) -> Result<(), PutError<T>> {
        let mut value = Some(value);
        let mut attempt = move || match try_put(value.take().expect("back after each attempt that was not the last")) {
            Ok(()) => Some(Ok(())),
            Err(TryPutError::Full(refused)) => {
                value = Some(refused);
                None
            }
            Err(e) => Some(Err(PutError::Closed(e.into_inner()))),
        };
        self.until(&mut attempt).await
    }

    /// Wakes `waker` once; the number is for [`leave`](Self::leave).
    fn enter(&self, id: Option<u64>, waker: &Waker) -> u64 {
        let waker = waker.clone();
        let mut list = self.list.lock();
        let id = id.unwrap_or_else(|| {
            list.next_id += 1;
            list.next_id
        });
        let former = list.wakers.insert(id, waker);
        // SeqCst: see the type.
        self.n_waiting.store(list.wakers.len(), Ordering::SeqCst);
        drop(list);
        // Without the lock: its `Drop` is the executor's code, which may drop other futures of this queue.
        drop(former);
        id
    }

    fn leave(&self, id: u64) {
        let mut list = self.list.lock();
        let waker = list.wakers.remove(&id);
        // Relaxed: a look that still sees the old number finds a shorter list.
        self.n_waiting.store(list.wakers.len(), Ordering::Relaxed);
        drop(list);
        // As in `enter`.
        drop(waker);
    }
}

impl fmt::Debug for Wakers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wakers").finish_non_exhaustive()
    }
}

/// See [`Wakers::until`].
pub(super) struct Until<'a, F> {
    wakers: &'a Wakers,
    /// Present once it has been in the list.
    entry: Option<WakerEntry<'a>>,
    attempt: F,
}

/// A place in the list, which is left when it is dropped.
struct WakerEntry<'a> {
    wakers: &'a Wakers,
    id: u64,
}

impl Drop for WakerEntry<'_> {
    fn drop(&mut self) {
        self.wakers.leave(self.id);
    }
}

impl<R, F: FnMut() -> Option<R> + Unpin> Future for Until<'_, F> {
    type Output = R;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<R> {
        let this = self.get_mut();
        if let Some(result) = (this.attempt)() {
            return Poll::Ready(result);
        }
        let id = this.wakers.enter(this.entry.as_ref().map(|entry| entry.id), context.waker());
        let wakers = this.wakers;
        this.entry.get_or_insert_with(|| WakerEntry { wakers, id });
        (this.attempt)().map_or(Poll::Pending, Poll::Ready)
    }
}
