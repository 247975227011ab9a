//! Starting threads.

use std::{
    fmt, io,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{Runnable, crash::alternate_stack::AlternateStack};

use super::{
    excepthook,
    handle::{ENDED, JoinHandle, NEW, STARTED, Thread},
    registry,
};

/// Starts a thread that runs `f`, under the next of the names `Thread-1`, `Thread-2`, …
///
/// # Panics
/// If the system refuses a thread; [`Builder::spawn`] returns that as an error.
pub fn spawn<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> JoinHandle<R> {
    Builder::new().spawn(f).expect("the system can start a thread")
}

/// Starts a thread that is a type: see [`Runnable`].
///
/// # Panics
/// As [`spawn`].
///
/// # Examples
/// ```
/// use proc_core::thread::{self, Runnable};
///
/// struct Count(u32);
///
/// impl Runnable for Count {
///     type Output = u32;
///     fn run(self) -> u32 {
///         (1..=self.0).sum()
///     }
/// }
///
/// assert_eq!(thread::start(Count(4)).join()?, 10);
/// # Ok::<(), thread::ThreadError>(())
/// ```
pub fn start<T>(runnable: T) -> JoinHandle<T::Output>
where
    T: Runnable + Send + 'static,
    T::Output: Send + 'static,
{
    spawn(move || runnable.run())
}

/// What a thread is to be like.
///
/// # Examples
/// ```
/// use proc_core::thread;
///
/// let worker = thread::Builder::new().name("worker").daemon(true).spawn(|| thread::current().name().to_owned())?;
/// assert_eq!(worker.join()?, "worker");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing before `spawn`"]
pub struct Builder {
    name: Option<String>,
    daemon: Option<bool>,
    stack_bytes: Option<usize>,
}

impl Builder {
    /// A thread with the next number for a name; a daemon if a daemon of this module makes it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the thread; the kernel shows the first 15 bytes.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Whether the process may end without waiting for the thread.
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = Some(daemon);
        self
    }

    /// The size of the thread's stack, in bytes.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_bytes = Some(bytes);
        self
    }

    /// Starts a thread that runs `f`.
    ///
    /// # Errors
    /// `EAGAIN` if the system refuses another thread, `InvalidInput` for a name with a NUL in it.
    pub fn spawn<R: Send + 'static>(self, f: impl FnOnce() -> R + Send + 'static) -> io::Result<JoinHandle<R>> {
        self.prepare(f).start()
    }

    /// Starts a thread that is a type: see [`Runnable`].
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn start<T>(self, runnable: T) -> io::Result<JoinHandle<T::Output>>
    where
        T: Runnable + Send + 'static,
        T::Output: Send + 'static,
    {
        self.spawn(move || runnable.run())
    }

    /// Makes the thread without starting it.
    pub fn prepare<R: Send + 'static>(self, f: impl FnOnce() -> R + Send + 'static) -> Prepared<R> {
        let daemon = self.daemon.unwrap_or_else(|| registry::is_ours() && registry::current().is_daemon());
        let name = self.name.unwrap_or_else(registry::next_name);
        let thread = Thread::new(registry::next_ident(), name, daemon, NEW);
        let result = Arc::new(Mutex::new(None));
        let store = Arc::clone(&result);
        // An unwind-safe view of `f` is not asked for: its result is an error then, and what it shared says so itself.
        let body = move |thread: &Thread| {
            let caught = catch_unwind(AssertUnwindSafe(f));
            let outcome = caught.map_err(|payload| excepthook::uncaught(thread, payload));
            *store.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        };
        Prepared { handle: JoinHandle { thread, result }, body: Box::new(body), stack_bytes: self.stack_bytes }
    }
}

/// A thread that has not been started.
#[must_use = "a thread does nothing before `start`"]
pub struct Prepared<R> {
    handle: JoinHandle<R>,
    body: Box<dyn FnOnce(&Thread) + Send>,
    stack_bytes: Option<usize>,
}

impl<R> Prepared<R> {
    /// Starts it.
    ///
    /// # Errors
    /// As [`Builder::spawn`].
    pub fn start(self) -> io::Result<JoinHandle<R>> {
        let Self { handle, body, stack_bytes } = self;
        let thread = handle.thread.clone();
        if thread.name().contains('\0') {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a thread's name cannot contain NUL"));
        }
        excepthook::install();
        if !thread.is_daemon() {
            registry::join_all_at_exit();
        }
        let mut os = std::thread::Builder::new().name(thread.name().to_owned());
        if let Some(bytes) = stack_bytes {
            os = os.stack_size(bytes);
        }
        thread.0.life.store(STARTED, std::sync::atomic::Ordering::Release);
        registry::add(&thread);
        // Held until the handle is in it, so that a thread that joins finds it there.
        let mut place = handle.thread.0.os.lock().unwrap_or_else(PoisonError::into_inner);
        let started = os.spawn({
            let thread = thread.clone();
            move || run(&thread, body)
        });
        match started {
            Ok(os) => *place = Some(os),
            Err(e) => {
                thread.0.life.store(ENDED, std::sync::atomic::Ordering::Release);
                registry::remove(&thread);
                return Err(e);
            }
        }
        drop(place);
        Ok(handle)
    }
}

fn run(thread: &Thread, body: Box<dyn FnOnce(&Thread) + Send>) {
    thread.begin();
    registry::set_current(thread);
    let alternate_stack = AlternateStack::new();
    body(thread);
    drop(alternate_stack);
    registry::remove(thread);
    thread.end();
}

impl<R> Deref for Prepared<R> {
    type Target = Thread;

    fn deref(&self) -> &Thread {
        &self.handle.thread
    }
}

impl<R> fmt::Debug for Prepared<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}
