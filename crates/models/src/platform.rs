//! What stands in the place of `src/platform.rs` in a model: loom's atomics and locks, and the kernel's futexes as loom
//! sees them. There is no time in a model: every deadline has passed at once, and a nap of a waiter ends when somebody has
//! died. So a wake-up that gets lost is a deadlock, which loom reports.

pub(crate) use loom::{
    hint::spin_loop,
    sync::atomic::{AtomicU64, AtomicUsize, fence},
    thread::{Thread, current, park},
};

use std::{
    cell::Cell,
    collections::VecDeque,
    ops::{Deref, DerefMut},
    sync::atomic::Ordering::{self, Relaxed, SeqCst},
    time::Duration,
};

use loom::{sync::Condvar, thread};

pub(crate) const SPINS: u32 = 0;
pub(crate) const THREAD_ID_STEP: usize = 8;

loom::lazy_static! {
    static ref SLEEPERS: Sleepers = Sleepers::default();
    static ref N_THREADS: loom::sync::Mutex<usize> = loom::sync::Mutex::new(0);
}

loom::thread_local! {
    static ID: Cell<usize> = Cell::new(0);
}

struct Sleepers {
    state: loom::sync::Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    /// On which word each one sleeps, and its number.
    asleep: Vec<(usize, usize)>,
    n_ever: usize,
    n_deaths: usize,
}

impl Default for Sleepers {
    fn default() -> Self {
        Self { state: loom::sync::Mutex::new(State::default()), news: Condvar::new() }
    }
}

/// Has all who nap look whether it is the one they wait for.
pub(crate) fn note_a_death() {
    SLEEPERS.state.lock().unwrap().n_deaths += 1;
    SLEEPERS.news.notify_all();
}

pub(crate) fn thread_id() -> usize {
    ID.with(|id| {
        if id.get() == 0 {
            let mut n = N_THREADS.lock().unwrap();
            *n += 1;
            id.set(*n * THREAD_ID_STEP);
        }
        id.get()
    })
}

/// As strong as the heavy side makes it, unless that is refused: see `barrier.rs`.
pub(crate) fn light_fence() {
    if !super::barrier::is_refused_somewhere() {
        fence(SeqCst);
    }
}

pub(crate) fn sleep(_: Duration) {
    thread::yield_now();
}

/// A futex word, whose stores are swaps.
///
/// Loom orders two stores only if one thread knows of both. So it may have a thread read its own swap again after another
/// thread's store that came later, which no processor does: a read-modify-write follows directly on what it has read. With
/// swaps alone there is one order.
#[derive(Debug)]
pub(crate) struct AtomicU32(loom::sync::atomic::AtomicU32);

impl AtomicU32 {
    pub(crate) fn new(value: u32) -> Self {
        Self(loom::sync::atomic::AtomicU32::new(value))
    }

    pub(crate) fn load(&self, order: Ordering) -> u32 {
        self.0.load(order)
    }

    pub(crate) fn store(&self, value: u32, order: Ordering) {
        self.0.swap(value, order);
    }

    pub(crate) fn swap(&self, value: u32, order: Ordering) -> u32 {
        self.0.swap(value, order)
    }

    pub(crate) fn fetch_add(&self, n: u32, order: Ordering) -> u32 {
        self.0.fetch_add(n, order)
    }

    pub(crate) fn fetch_or(&self, bits: u32, order: Ordering) -> u32 {
        self.0.fetch_or(bits, order)
    }
}

/// As that of `crossbeam`, whose distance to others is nothing to a model.
pub(crate) struct CachePadded<T>(T);

impl<T> CachePadded<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(value)
    }
}

impl<T> Deref for CachePadded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// As that of `parking_lot`: a `try_lock` that fails orders nothing, and may not know yet that the lock is free.
pub(crate) struct Mutex<T> {
    inner: loom::sync::Mutex<T>,
    is_locked: AtomicU64,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { inner: loom::sync::Mutex::new(value), is_locked: AtomicU64::new(0) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.guard(self.inner.lock().unwrap())
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        if self.is_locked.load(Relaxed) != 0 {
            return None;
        }
        self.inner.try_lock().ok().map(|inner| self.guard(inner))
    }

    pub(crate) fn try_lock_for(&self, _: Duration) -> Option<MutexGuard<'_, T>> {
        self.try_lock()
    }

    fn guard<'a>(&'a self, inner: loom::sync::MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.is_locked.store(1, Relaxed);
        MutexGuard { inner, is_locked: &self.is_locked }
    }
}

pub(crate) struct MutexGuard<'a, T> {
    inner: loom::sync::MutexGuard<'a, T>,
    is_locked: &'a AtomicU64,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.is_locked.store(0, Relaxed);
    }
}

/// As that of `crossbeam`: whether it is empty orders nothing.
pub(crate) struct Injector<T> {
    tasks: loom::sync::Mutex<VecDeque<T>>,
    len: AtomicU64,
}

pub(crate) enum Steal<T> {
    Success(T),
    Empty,
    #[allow(dead_code, reason = "here it never is so")]
    Retry,
}

impl<T> Injector<T> {
    pub(crate) fn new() -> Self {
        Self { tasks: loom::sync::Mutex::new(VecDeque::new()), len: AtomicU64::new(0) }
    }

    pub(crate) fn push(&self, task: T) {
        self.tasks.lock().unwrap().push_back(task);
        self.len.fetch_add(1, Relaxed);
    }

    pub(crate) fn steal(&self) -> Steal<T> {
        if self.is_empty() {
            return Steal::Empty;
        }
        let Some(task) = self.tasks.lock().unwrap().pop_front() else { return Steal::Empty };
        self.len.fetch_sub(1, Relaxed);
        Steal::Success(task)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Relaxed) as usize
    }
}

pub(crate) mod futex {
    use std::{ptr, sync::atomic::Ordering::SeqCst, time::Duration};

    use loom::{sync::MutexGuard, thread};

    use super::{AtomicU32, SLEEPERS, State};

    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Deadline;

    impl Deadline {
        pub(crate) fn after(_: Duration) -> Option<Self> {
            Some(Self)
        }

        pub(crate) fn remaining(&self) -> Duration {
            Duration::ZERO
        }

        pub(crate) fn has_passed(&self) -> bool {
            true
        }
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Wait {
        Woken,
        Changed,
        TimedOut,
    }

    pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Option<Deadline>) -> Wait {
        let mut state = SLEEPERS.state.lock().unwrap();
        if word.load(SeqCst) != expected {
            return Wait::Changed;
        }
        if deadline.is_some() && state.n_deaths > 0 {
            drop(state);
            thread::yield_now();
            return Wait::TimedOut;
        }
        let me = (ptr::from_ref(word).addr(), state.n_ever);
        state.n_ever += 1;
        state.asleep.push(me);
        while state.asleep.contains(&me) {
            if deadline.is_some() && state.n_deaths > 0 {
                state.asleep.retain(|sleeper| *sleeper != me);
                return Wait::TimedOut;
            }
            state = SLEEPERS.news.wait(state).unwrap();
        }
        Wait::Woken
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Change {
        Increment,
    }

    pub(crate) fn change_and_wake(word: &AtomicU32, change: Change, n: u32) -> usize {
        let state = SLEEPERS.state.lock().unwrap();
        match change {
            Change::Increment => word.fetch_add(1, SeqCst),
        };
        wake_locked(state, word, n)
    }

    pub(crate) fn wake(word: &AtomicU32, n: u32) -> usize {
        wake_locked(SLEEPERS.state.lock().unwrap(), word, n)
    }

    fn wake_locked(mut state: MutexGuard<'_, State>, word: &AtomicU32, n: u32) -> usize {
        let mut n_woken = 0;
        state.asleep.retain(|(at, _)| {
            let wakes = *at == ptr::from_ref(word).addr() && n_woken < n as usize;
            n_woken += usize::from(wakes);
            !wakes
        });
        SLEEPERS.news.notify_all();
        n_woken
    }
}
