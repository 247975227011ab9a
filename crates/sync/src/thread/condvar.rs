//! [`Condvar`]: sleep until somebody says that something changed.

use std::{
    ops::DerefMut,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard, RwLockReadGuard, RwLockWriteGuard};

use crate::WaitTimeoutResult;

/// Lets threads sleep until another one notifies them; used with any lock of this scope.
///
/// # Examples
/// ```
/// use sync::thread::{Condvar, Lock};
///
/// let (stock, changed) = (Lock::new(0u32), Condvar::new());
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         *stock.lock() += 1;
///         changed.notify_one();
///     });
///     let guard = changed.wait_while(stock.lock(), |stock| *stock == 0);
///     assert_eq!(*guard, 1);
/// });
/// ```
#[doc(alias = "Condition")]
#[derive(Debug, Default)]
pub struct Condvar {
    // Held from before the user's lock is released until the waiter is in line, and while notifying.
    line: Mutex<()>,
    changed: parking_lot::Condvar,
}

impl Condvar {
    /// Makes a condition variable.
    pub const fn new() -> Self {
        Self { line: parking_lot::const_mutex(()), changed: parking_lot::Condvar::new() }
    }

    /// Releases the lock, sleeps until a notification comes, and locks again: recursive locks as often as they had
    /// been locked.
    pub fn wait<G: WaitGuard>(&self, mut guard: G) -> G {
        self.sleep(&mut guard, None);
        guard
    }

    /// Waits for as long as `condition` holds.
    pub fn wait_while<G: WaitGuard + DerefMut>(
        &self,
        mut guard: G,
        mut condition: impl FnMut(&mut G::Target) -> bool,
    ) -> G {
        while condition(&mut guard) {
            self.sleep(&mut guard, None);
        }
        guard
    }

    /// Waits for `timeout` at most; the time to lock again comes on top.
    pub fn wait_timeout<G: WaitGuard>(&self, mut guard: G, timeout: Duration) -> (G, WaitTimeoutResult) {
        let notified = self.sleep(&mut guard, Instant::now().checked_add(timeout));
        (guard, WaitTimeoutResult::new(!notified))
    }

    /// Waits for as long as `condition` holds, for `timeout` at most. It has timed out if the condition holds still.
    pub fn wait_timeout_while<G: WaitGuard + DerefMut>(
        &self,
        mut guard: G,
        timeout: Duration,
        mut condition: impl FnMut(&mut G::Target) -> bool,
    ) -> (G, WaitTimeoutResult) {
        let deadline = Instant::now().checked_add(timeout);
        let mut in_time = true;
        while condition(&mut guard) {
            if !in_time {
                return (guard, WaitTimeoutResult::new(true));
            }
            in_time = self.sleep(&mut guard, deadline);
        }
        (guard, WaitTimeoutResult::new(false))
    }

    /// Wakes one waiter, if there is one.
    #[doc(alias = "notify")]
    pub fn notify_one(&self) {
        self.notify_n(1);
    }

    /// Wakes `n` waiters, or all if there are fewer.
    pub fn notify_n(&self, n: u32) {
        let _line = self.line.lock();
        for _ in 0..n {
            if !self.changed.notify_one() {
                break;
            }
        }
    }

    /// Wakes all waiters.
    pub fn notify_all(&self) {
        let _line = self.line.lock();
        self.changed.notify_all();
    }

    /// Returns false once the deadline has passed.
    fn sleep<G: WaitGuard>(&self, guard: &mut G, deadline: Option<Instant>) -> bool {
        let mut line = self.line.lock();
        guard.unlocked(move || {
            let in_time = match deadline {
                None => {
                    self.changed.wait(&mut line);
                    true
                }
                Some(deadline) => !self.changed.wait_until(&mut line, deadline).timed_out(),
            };
            // Before the user's lock is locked again: a notifier may hold that and want this.
            drop(line);
            in_time
        })
    }
}

/// A guard with which one can wait for a [`Condvar`]: those of all locks of this scope.
pub trait WaitGuard: sealed::Sealed {
    #[doc(hidden)]
    fn unlocked<R>(&mut self, sleep: impl FnOnce() -> R) -> R;
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

macro_rules! wait_guards {
    ($($guard:ident),*) => {
        $(
            impl<T: ?Sized> sealed::Sealed for $guard<'_, T> {}

            impl<T: ?Sized> WaitGuard for $guard<'_, T> {
                fn unlocked<R>(&mut self, sleep: impl FnOnce() -> R) -> R {
                    $guard::unlocked(self, sleep)
                }
            }
        )*
    };
}
wait_guards!(MutexGuard, RwLockReadGuard, RwLockWriteGuard);
