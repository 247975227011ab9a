//! What the queues between threads wait by: a mutex, condition variables and wakers.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::wakers::Wakers;
use crate::{GetError, GetTimeoutError, PutError, PutTimeoutError, TryGetError, TryPutError};

/// A mutex around some order of values; condition variables and wakers for threads that find it full or empty.
pub(super) struct Monitor<S> {
    state: Mutex<MonitorState<S>>,
    not_empty: Condvar,
    not_full: Condvar,
    pub(super) takers: Wakers,
    pub(super) putters: Wakers,
    maxsize: usize,
}

pub(super) struct MonitorState<S> {
    pub(super) store: S,
    pub(super) closed: bool,
}

/// Which value comes out next.
pub(super) trait ValueStore {
    /// What is stored.
    type Value;

    /// Takes a value in.
    fn push(&mut self, value: Self::Value);

    /// Gives the next value out.
    fn pop(&mut self) -> Option<Self::Value>;

    /// How many values are inside.
    fn len(&self) -> usize;
}

impl<S: ValueStore> Monitor<S> {
    pub(super) fn new(maxsize: usize, store: S) -> Self {
        Self {
            state: Mutex::new(MonitorState { store, closed: false }),
            not_empty: Condvar::new(),
            not_full: Condvar::new(),
            takers: Wakers::default(),
            putters: Wakers::default(),
            maxsize,
        }
    }

    fn has_room(&self, state: &MonitorState<S>) -> bool {
        self.maxsize == 0 || state.store.len() < self.maxsize
    }

    pub(super) fn put(&self, value: S::Value) -> Result<(), PutError<S::Value>> {
        match self.put_until(value, None) {
            Ok(()) => Ok(()),
            Err(e) => Err(PutError::Closed(e.into_inner())),
        }
    }

    pub(super) fn try_put(&self, value: S::Value) -> Result<(), TryPutError<S::Value>> {
        // A moment that has passed: does not wait.
        self.put_until(value, Some(Duration::ZERO)).map_err(|e| match e {
            PutTimeoutError::TimedOut(value) => TryPutError::Full(value),
            e => TryPutError::Closed(e.into_inner()),
        })
    }

    /// `None` waits for ever.
    pub(super) fn put_until(
        &self,
        value: S::Value,
        timeout: Option<Duration>,
    ) -> Result<(), PutTimeoutError<S::Value>> {
        let mut state = self.state.lock();
        let mut deadline = None;
        loop {
            if state.closed {
                return Err(PutTimeoutError::Closed(value));
            }
            if self.has_room(&state) {
                state.store.push(value);
                drop(state);
                self.wake_taker();
                return Ok(());
            }
            if !self.sleep(&self.not_full, &mut state, timeout, &mut deadline) {
                return Err(PutTimeoutError::TimedOut(value));
            }
        }
    }

    pub(super) fn get(&self) -> Result<S::Value, GetError> {
        self.get_until(None).map_err(|_| GetError::Closed)
    }

    pub(super) fn try_get(&self) -> Result<S::Value, TryGetError> {
        self.get_until(Some(Duration::ZERO)).map_err(|e| match e {
            GetTimeoutError::TimedOut => TryGetError::Empty,
            _ => TryGetError::Closed,
        })
    }

    /// `None` waits for ever.
    pub(super) fn get_until(&self, timeout: Option<Duration>) -> Result<S::Value, GetTimeoutError> {
        let mut state = self.state.lock();
        let mut deadline = None;
        loop {
            if let Some(value) = state.store.pop() {
                drop(state);
                self.wake_putters(1);
                return Ok(value);
            }
            if state.closed {
                return Err(GetTimeoutError::Closed);
            }
            if !self.sleep(&self.not_empty, &mut state, timeout, &mut deadline) {
                return Err(GetTimeoutError::TimedOut);
            }
        }
    }

    /// False if the time was over already. The deadline is counted from the first sleep.
    fn sleep(
        &self,
        condvar: &Condvar,
        state: &mut parking_lot::MutexGuard<'_, MonitorState<S>>,
        timeout: Option<Duration>,
        deadline: &mut Option<Instant>,
    ) -> bool {
        let Some(timeout) = timeout else {
            condvar.wait(state);
            return true;
        };
        if timeout.is_zero() {
            return false;
        }
        if deadline.is_none() {
            *deadline = Instant::now().checked_add(timeout);
        }
        match *deadline {
            // Further away than the clock can count.
            None => condvar.wait(state),
            Some(deadline) => {
                if Instant::now() >= deadline {
                    return false;
                }
                condvar.wait_until(state, deadline);
            }
        }
        true
    }

    /// Waits for a value, then takes up to `max`.
    pub(super) fn get_many(&self, max: usize) -> Result<Vec<S::Value>, GetError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let first = self.get()?;
        let mut state = self.state.lock();
        let values: Vec<_> =
            std::iter::once(first).chain(std::iter::from_fn(|| state.store.pop()).take(max - 1)).collect();
        drop(state);
        self.wake_putters(values.len() - 1);
        Ok(values)
    }

    pub(super) fn len(&self) -> usize {
        self.state.lock().store.len()
    }

    pub(super) fn is_full(&self) -> bool {
        !self.has_room(&self.state.lock())
    }

    pub(super) fn maxsize(&self) -> usize {
        self.maxsize
    }

    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.not_empty.notify_all();
        self.not_full.notify_all();
        self.takers.wake_all();
        self.putters.wake_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Changes the store in some other way, and wakes a taker.
    pub(super) fn amend<R>(&self, f: impl FnOnce(&mut S) -> R) -> R {
        let result = f(&mut self.state.lock().store);
        self.wake_taker();
        result
    }

    fn wake_taker(&self) {
        self.not_empty.notify_one();
        self.takers.wake_all();
    }

    fn wake_putters(&self, n: usize) {
        for _ in 0..n {
            self.not_full.notify_one();
        }
        self.putters.wake_all();
    }
}
