//! [`Event`]: wait until it is set.

use std::{
    panic::{RefUnwindSafe, UnwindSafe},
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

/// A flag that threads set, clear and wait for.
///
/// All that wait when it is set are let go, even if it is cleared again at once.
///
/// # Examples
/// ```
/// let ready = sync::thread::Event::new();
/// std::thread::scope(|scope| {
///     scope.spawn(|| ready.set());
///     assert!(ready.wait());
/// });
/// ```
#[derive(Debug, Default)]
pub struct Event {
    // How often it was set or cleared: odd while it is set.
    count: Mutex<u64>,
    changed: Condvar,
}

impl Event {
    /// Makes an event that is not set.
    pub const fn new() -> Self {
        Self { count: parking_lot::const_mutex(0), changed: Condvar::new() }
    }

    /// Sets it and lets all waiters go.
    pub fn set(&self) {
        *self.count.lock() |= 1;
        self.changed.notify_all();
    }

    /// Clears it, so that the next to wait will sleep.
    pub fn clear(&self) {
        let mut count = self.count.lock();
        *count += *count % 2;
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        *self.count.lock() % 2 == 1
    }

    /// Sleeps until it is set; returns at once if it is. Always true, as in Python.
    pub fn wait(&self) -> bool {
        self.wait_until(None)
    }

    /// Sleeps until it is set, for `timeout` at most. False if time ran out.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.wait_until(Instant::now().checked_add(timeout))
    }

    /// As [`wait_timeout`](Self::wait_timeout), until `deadline`.
    pub fn wait_deadline(&self, deadline: Instant) -> bool {
        self.wait_until(Some(deadline))
    }

    fn wait_until(&self, deadline: Option<Instant>) -> bool {
        let mut count = self.count.lock();
        let began = *count;
        let is_unset = |count: &mut u64| *count == began && began.is_multiple_of(2);
        match deadline {
            None => self.changed.wait_while(&mut count, is_unset),
            Some(deadline) => return !self.changed.wait_while_until(&mut count, is_unset, deadline).timed_out(),
        }
        true
    }
}

// What a panic interrupts is the user's; this is whole.
impl UnwindSafe for Event {}
impl RefUnwindSafe for Event {}
