//! A function that runs later, unless it is called off.

use std::{
    fmt, io,
    ops::Deref,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicU32,
            Ordering::{AcqRel, Acquire},
        },
    },
    time::Duration,
};

use super::{Builder, Prepared, Thread};
use kernel::futex::{self, Deadline};

/// A thread that waits a while and then runs a function, unless it has been cancelled by then.
///
/// Like any thread that is no daemon it keeps the process from ending: cancel it if it is not needed any more. Dropping
/// it does not cancel it.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use proc_core::thread::Timer;
///
/// let alarm = Timer::new(Duration::from_secs(3600), || println!("an hour has passed"));
/// alarm.start()?;
/// assert!(alarm.cancel());
/// alarm.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Timer {
    thread: Thread,
    prepared: Mutex<Option<Prepared<()>>>,
    fate: Arc<AtomicU32>,
}

// A timer's fate; a futex. It is decided once, by a swap from `PENDING`: `AcqRel`, so that a thread that finds it cancelled sees
// what was done before the cancel.
const PENDING: u32 = 0;
const CANCELLED: u32 = 1;
const FIRED: u32 = 2;

impl Timer {
    /// A timer that runs `f` when `interval` has passed since its [`start`](Self::start).
    pub fn new(interval: Duration, f: impl FnOnce() + Send + 'static) -> Self {
        Self::with_builder(Builder::new(), interval, f)
    }

    /// As [`new`](Self::new), on a thread with a name of its own, or a daemon.
    pub fn with_builder(builder: Builder, interval: Duration, f: impl FnOnce() + Send + 'static) -> Self {
        let fate = Arc::new(AtomicU32::new(PENDING));
        let prepared = builder.prepare({
            let fate = Arc::clone(&fate);
            move || {
                let deadline = Deadline::after(interval);
                while fate.load(Acquire) == PENDING && !deadline.is_some_and(|d| d.has_passed()) {
                    futex::wait(&fate, PENDING, deadline);
                }
                if fate.compare_exchange(PENDING, FIRED, AcqRel, Acquire).is_ok() {
                    f();
                }
            }
        });
        Self { thread: (*prepared).clone(), prepared: Mutex::new(Some(prepared)), fate }
    }

    /// Sets it going. A timer can be started once.
    ///
    /// # Errors
    /// `AlreadyExists` at the second time; otherwise as [`Builder::spawn`].
    pub fn start(&self) -> io::Result<()> {
        let prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner).take();
        let prepared = prepared.ok_or_else(|| io::Error::new(io::ErrorKind::AlreadyExists, "a timer starts once"))?;
        prepared.start().map(drop)
    }

    /// Calls the function off. False if it is too late, because it runs or has run.
    pub fn cancel(&self) -> bool {
        let outcome = self.fate.compare_exchange(PENDING, CANCELLED, AcqRel, Acquire);
        futex::wake(&self.fate, 1);
        matches!(outcome, Ok(_) | Err(CANCELLED))
    }
}

impl Deref for Timer {
    type Target = Thread;

    fn deref(&self) -> &Thread {
        &self.thread
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fate = match self.fate.load(Acquire) {
            PENDING => "pending",
            CANCELLED => "cancelled",
            _ => "fired",
        };
        write!(f, "<Timer({}, {fate})>", self.thread.name())
    }
}
