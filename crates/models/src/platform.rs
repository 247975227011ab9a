//! What stands in the place of `src/platform.rs` in a model: loom's atomics and locks, and the kernel's futexes as loom
//! sees them. There is no time in a model: every deadline has passed at once, and a nap of a waiter ends when somebody has
//! died. So a wake-up that gets lost is a deadlock, which loom reports.

pub(crate) use loom::{
    hint::spin_loop,
    sync::{
        MutexGuard,
        atomic::{AtomicU64, AtomicUsize, fence},
    },
};

use std::{
    cell::Cell,
    sync::atomic::Ordering::{self, SeqCst},
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

/// As that of `parking_lot`.
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap()
    }

    pub(crate) fn try_lock_for(&self, _: Duration) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok()
    }
}

pub(crate) mod futex {
    use std::{ptr, sync::atomic::Ordering::SeqCst, time::Duration};

    use loom::thread;

    use super::{AtomicU32, SLEEPERS};

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

    pub(crate) fn wake(word: &AtomicU32, n: u32) -> usize {
        let mut state = SLEEPERS.state.lock().unwrap();
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
