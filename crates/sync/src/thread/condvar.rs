//! [`Condvar`]: sleep until another thread says that something changed.

use std::{
    panic::{RefUnwindSafe, UnwindSafe},
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

    /// Waits for as long as `condition` holds. What that is given is a mutable reference to the data of a `Lock` or of a
    /// writer, and a shared one to those of an `RLock` or of a reader.
    #[doc(alias = "wait_for")]
    pub fn wait_while<G: WaitGuard>(
        &self,
        mut guard: G,
        mut condition: impl FnMut(<G as Lend<'_>>::Data) -> bool,
    ) -> G {
        while condition(guard.data()) {
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
    pub fn wait_timeout_while<G: WaitGuard>(
        &self,
        guard: G,
        timeout: Duration,
        condition: impl FnMut(<G as Lend<'_>>::Data) -> bool,
    ) -> (G, WaitTimeoutResult) {
        self.sleep_while(guard, Instant::now().checked_add(timeout), condition)
    }

    /// Waits until `deadline` at most; the time to lock again comes on top.
    pub fn wait_deadline<G: WaitGuard>(&self, mut guard: G, deadline: Instant) -> (G, WaitTimeoutResult) {
        let notified = self.sleep(&mut guard, Some(deadline));
        (guard, WaitTimeoutResult::new(!notified))
    }

    /// As [`wait_timeout_while`](Self::wait_timeout_while), until `deadline`.
    pub fn wait_deadline_while<G: WaitGuard>(
        &self,
        guard: G,
        deadline: Instant,
        condition: impl FnMut(<G as Lend<'_>>::Data) -> bool,
    ) -> (G, WaitTimeoutResult) {
        self.sleep_while(guard, Some(deadline), condition)
    }

    fn sleep_while<G: WaitGuard>(
        &self,
        mut guard: G,
        deadline: Option<Instant>,
        mut condition: impl FnMut(<G as Lend<'_>>::Data) -> bool,
    ) -> (G, WaitTimeoutResult) {
        let mut in_time = true;
        while condition(guard.data()) {
            if !in_time {
                return (guard, WaitTimeoutResult::new(true));
            }
            in_time = self.sleep(&mut guard, deadline);
        }
        (guard, WaitTimeoutResult::new(false))
    }

    /// Wakes one waiter, if there is one. Whether there was.
    #[doc(alias = "notify")]
    pub fn notify_one(&self) -> bool {
        self.notify_n(1) > 0
    }

    /// Wakes `n` waiters, or all if there are fewer. Returns how many.
    pub fn notify_n(&self, n: u32) -> usize {
        let _line = self.line.lock();
        (0..n).take_while(|_| self.changed.notify_one()).count()
    }

    /// Wakes all waiters. Returns how many.
    pub fn notify_all(&self) -> usize {
        let _line = self.line.lock();
        self.changed.notify_all()
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
pub trait WaitGuard: sealed::Sealed + Sized + for<'d> Lend<'d> {
    #[doc(hidden)]
    fn data<'d>(&'d mut self) -> <Self as Lend<'d>>::Data;
    #[doc(hidden)]
    fn unlocked<R>(&mut self, sleep: impl FnOnce() -> R) -> R;
}

/// What a guard lends of its lock's data: `&mut T` if it is the only one, else `&T`.
///
/// (`Bound` says to the compiler that `'d` is no longer than the guard exists.)
pub trait Lend<'d, Bound = &'d Self>: sealed::Sealed {
    /// The reference.
    type Data;
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

macro_rules! wait_guards {
    ($($guard:ident: &$lifetime:lifetime $($mutable:ident)?;)*) => {
        $(
            impl<T: ?Sized> sealed::Sealed for $guard<'_, T> {}

            impl<$lifetime, T: ?Sized> Lend<$lifetime> for $guard<'_, T> {
                type Data = &$lifetime $($mutable)? T;
            }

            impl<T: ?Sized> WaitGuard for $guard<'_, T> {
                fn data<$lifetime>(&$lifetime mut self) -> &$lifetime $($mutable)? T {
                    self
                }

                fn unlocked<R>(&mut self, sleep: impl FnOnce() -> R) -> R {
                    $guard::unlocked(self, sleep)
                }
            }
        )*
    };
}
wait_guards! {
    MutexGuard: &'d mut;
    RwLockReadGuard: &'d;
    RwLockWriteGuard: &'d mut;
}

// What a panic interrupts is the user's; the condition variable is whole.
impl UnwindSafe for Condvar {}
impl RefUnwindSafe for Condvar {}
