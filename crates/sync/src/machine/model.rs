//! The kernel's futexes as loom sees them.

use std::panic::resume_unwind;

use kernel::futex::Deadline;
use loom::sync::{Condvar, Mutex};

use super::{AtomicU64, Futex, Ordering, word};

/// Futexes of one model. A wake-up that gets lost is a deadlock, which loom reports.
pub(crate) struct Model {
    sleepers: Mutex<Sleepers>,
    woken: Condvar,
}

#[derive(Default)]
struct Sleepers {
    /// Where they sleep, as an address, and each one's number.
    asleep: Vec<(usize, usize)>,
    n_ever: usize,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self { sleepers: Mutex::new(Sleepers::default()), woken: Condvar::new() }
    }

    fn wake_locked(&self, sleepers: &mut Sleepers, state: &AtomicU64, n: u32) -> u32 {
        let mut left = n;
        sleepers.asleep.retain(|(at, _)| {
            let wakes = *at == std::ptr::from_ref(state).addr() && left > 0;
            left -= u32::from(wakes);
            !wakes
        });
        self.woken.notify_all();
        n - left
    }
}

impl Futex for Model {
    fn wait(&self, state: &AtomicU64, expected: u32, deadline: Option<Deadline>) -> bool {
        if deadline.is_some() {
            // There is no time in a model: it has passed at once.
            loom::thread::yield_now();
            return false;
        }
        let mut sleepers = self.sleepers.lock().unwrap();
        if word(state.load(Ordering::SeqCst)) != expected {
            return true;
        }
        let me = (std::ptr::from_ref(state).addr(), sleepers.n_ever);
        sleepers.n_ever += 1;
        sleepers.asleep.push(me);
        while sleepers.asleep.contains(&me) {
            sleepers = self.woken.wait(sleepers).unwrap();
        }
        true
    }

    fn wake(&self, state: &AtomicU64, n: u32) -> u32 {
        self.wake_locked(&mut self.sleepers.lock().unwrap(), state, n)
    }

    fn increment_and_wake(&self, state: &AtomicU64, n: u32) -> u32 {
        let mut sleepers = self.sleepers.lock().unwrap();
        state.fetch_add(1, Ordering::SeqCst);
        self.wake_locked(&mut sleepers, state, n)
    }

    fn set_lowest_bit_and_wake_all(&self, state: &AtomicU64) {
        let mut sleepers = self.sleepers.lock().unwrap();
        state.fetch_or(1, Ordering::SeqCst);
        self.wake_locked(&mut sleepers, state, u32::MAX);
    }

    fn spin(&self, _: u32) -> bool {
        false
    }

    fn spin_patiently(&self, _: u32) -> bool {
        false
    }

    fn back_off(&self, has_given_way: bool) -> bool {
        has_given_way
    }

    fn has_contended(&self) {}
}

/// The futexes of a thread that is killed at a system call: when it has been woken, or before it wakes anybody. What
/// the kernel does then is `epitaph`.
pub(crate) struct Doomed<'a, F: Fn()> {
    pub(crate) model: &'a Model,
    pub(crate) epitaph: F,
}

impl<F: Fn()> Doomed<'_, F> {
    fn die(&self) -> ! {
        (self.epitaph)();
        resume_unwind(Box::new("killed"))
    }
}

impl<F: Fn()> Futex for Doomed<'_, F> {
    fn wait(&self, state: &AtomicU64, expected: u32, deadline: Option<Deadline>) -> bool {
        self.model.wait(state, expected, deadline);
        self.die()
    }

    fn wake(&self, _: &AtomicU64, _: u32) -> u32 {
        self.die()
    }

    fn increment_and_wake(&self, _: &AtomicU64, _: u32) -> u32 {
        self.die()
    }

    fn set_lowest_bit_and_wake_all(&self, _: &AtomicU64) {
        self.die()
    }

    fn spin(&self, _: u32) -> bool {
        false
    }

    fn spin_patiently(&self, _: u32) -> bool {
        false
    }

    fn back_off(&self, has_given_way: bool) -> bool {
        has_given_way
    }

    fn has_contended(&self) {}
}
