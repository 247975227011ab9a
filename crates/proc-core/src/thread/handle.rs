//! Threads as others see them: their name, their state, and waiting for their end.

use std::{
    fmt,
    ops::Deref,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicU32,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use super::native::{self, State};
use kernel::futex::{self, Deadline};

/// A thread: its name and where in its life it is. Clones are the same thread.
#[derive(Clone)]
pub struct Thread(pub(super) Arc<Inner>);

pub(super) struct Inner {
    ident: u64,
    name: String,
    daemon: bool,
    /// 0 as long as the kernel does not know the thread. `Relaxed`: stored before `life` says that it has started.
    pub(super) native_id: AtomicU32,
    /// [`NEW`], then [`STARTED`], then [`ENDED`], each stored by the thread itself; a futex. `Release` and `Acquire`: a thread
    /// that sees its end sees what it did.
    pub(super) life: AtomicU32,
    pub(super) os: Mutex<Option<std::thread::JoinHandle<()>>>,
}

pub(super) const NEW: u32 = 0;
pub(super) const STARTED: u32 = 1;
pub(super) const ENDED: u32 = 2;

impl Thread {
    pub(super) fn new(ident: u64, name: String, daemon: bool, life: u32) -> Self {
        let (native_id, life) = (AtomicU32::new(0), AtomicU32::new(life));
        Self(Arc::new(Inner { ident, name, daemon, native_id, life, os: Mutex::default() }))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// A number that no other thread of this process has or will have.
    pub fn ident(&self) -> u64 {
        self.0.ident
    }

    /// The kernel's number for it, `gettid(2)`; `None` before it runs. The main thread's is the pid.
    pub fn native_id(&self) -> Option<u32> {
        Some(self.0.native_id.load(Relaxed)).filter(|id| *id != 0)
    }

    /// Whether the end of the process does without waiting for it.
    pub fn is_daemon(&self) -> bool {
        self.0.daemon
    }

    /// Whether it has been started and its function has not ended.
    pub fn is_alive(&self) -> bool {
        self.0.life.load(Acquire) == STARTED
    }

    /// Where in its life it is at this moment.
    ///
    /// Asks the kernel, with a few system calls: for the eye and for tests, not for synchronisation.
    pub fn state(&self) -> State {
        match (self.0.life.load(Acquire), self.native_id()) {
            (NEW, _) => State::New,
            (STARTED, None) => State::Runnable,
            (STARTED, Some(id)) => native::state_of(id),
            _ => State::Terminated,
        }
    }

    /// Waits until its function has ended.
    ///
    /// # Errors
    /// [`ThreadError::Current`] if a thread would wait for itself, [`ThreadError::NotStarted`].
    pub fn join(&self) -> Result<(), ThreadError> {
        self.check_joinable()?;
        self.wait(None);
        Ok(())
    }

    /// Waits until its function has ended, but no longer than `timeout`; returns whether it has. False at once for the
    /// calling thread itself.
    pub fn join_timeout(&self, timeout: Duration) -> bool {
        let itself = self.check_joinable().is_err();
        !itself && self.wait(Deadline::after(timeout))
    }

    fn check_joinable(&self) -> Result<(), ThreadError> {
        if self.0.life.load(Acquire) == NEW {
            return Err(ThreadError::NotStarted);
        }
        if self.0.native_id.load(Relaxed) == native::own_id() && self.is_alive() {
            return Err(ThreadError::Current);
        }
        Ok(())
    }

    /// False if the deadline passed first.
    pub(super) fn wait(&self, deadline: Option<Deadline>) -> bool {
        loop {
            let life = self.0.life.load(Acquire);
            if life == ENDED {
                break;
            }
            if deadline.is_some_and(|d| d.has_passed()) {
                return false;
            }
            futex::wait(&self.0.life, life, deadline);
        }
        // The first to come also waits for the destructors of its thread-local variables.
        let os = self.0.os.lock().unwrap_or_else(PoisonError::into_inner).take();
        os.map(std::thread::JoinHandle::join).is_none_or(|result| result.is_ok())
    }

    pub(super) fn begin(&self) {
        self.0.native_id.store(native::own_id(), Relaxed);
        self.0.life.store(STARTED, Release);
    }

    pub(super) fn end(&self) {
        self.0.life.store(ENDED, Release);
        futex::wake(&self.0.life, u32::MAX);
    }
}

impl PartialEq for Thread {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Thread {}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { name, daemon, ident, .. } = &*self.0;
        write!(
            f,
            "<Thread({name}, {}{} {ident})>",
            if self.is_alive() { "started" } else { "stopped" },
            match daemon {
                true => " daemon",
                false => "",
            }
        )
    }
}

/// A started thread, and what its function returns.
///
/// Dropping it lets the thread run on; when `main` returns the process waits for it all the same, unless it is a daemon.
#[must_use = "join() tells what became of the thread"]
pub struct JoinHandle<R> {
    pub(super) thread: Thread,
    pub(super) result: Arc<Mutex<Option<Result<R, ThreadError>>>>,
}

impl<R> JoinHandle<R> {
    /// Waits until the thread's function has ended, and returns what it returned.
    ///
    /// # Errors
    /// [`ThreadError::Panicked`] if it panicked; [`ThreadError::Current`] if the thread would wait for itself.
    pub fn join(self) -> Result<R, ThreadError> {
        self.thread.join()?;
        let result = self.result.lock().unwrap_or_else(PoisonError::into_inner).take();
        result.expect("stored before the thread ends, and taken once, because `join` consumes the handle")
    }

    /// Whether the thread's function has ended.
    pub fn is_finished(&self) -> bool {
        !self.thread.is_alive()
    }

    /// The thread itself, to be kept after `join`.
    pub fn thread(&self) -> &Thread {
        &self.thread
    }
}

impl<R> Deref for JoinHandle<R> {
    type Target = Thread;

    fn deref(&self) -> &Thread {
        &self.thread
    }
}

impl<R> fmt::Debug for JoinHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.thread.fmt(f)
    }
}

/// Why a thread has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ThreadError {
    /// Its function panicked.
    #[non_exhaustive]
    Panicked {
        /// The panic's message; for a payload that is no text, a note that says so.
        message: String,
        /// `file:line:column`; empty if unknown.
        location: String,
    },
    /// A thread cannot wait for its own end.
    Current,
    /// A thread cannot be waited for before it has been started.
    NotStarted,
}

impl fmt::Display for ThreadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked { message, location } => write!(f, "the thread panicked at {location}: {message}"),
            Self::Current => f.write_str("a thread cannot wait for its own end"),
            Self::NotStarted => f.write_str("the thread has not been started"),
        }
    }
}

impl std::error::Error for ThreadError {}
