//! Threads of our own that run beside the user's: few, started on demand, without signals, and not counted as "other
//! threads" when the program asks for a fork.

use std::{
    cell::Cell,
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread::JoinHandle,
};

use crate::{
    fork_local::ForkLocal,
    sys::signals::{self, Mask},
};

#[derive(Default)]
struct Helpers {
    running: AtomicUsize,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

static HELPERS: ForkLocal<Helpers> = ForkLocal::new();

thread_local! {
    /// In a helper thread: the mask of the program's thread for which it was started, maybe by another helper.
    static OF_PROGRAM: Cell<Option<Mask>> = const { Cell::new(None) };
}

/// Starts a helper thread. It gets no signals: those are for threads that the program knows of.
///
/// It must hold no lock for long, and none that a forked child needs, but
/// [`while_nobody_forks`](crate::at_fork::while_nobody_forks): the child does not have the thread.
///
/// # Errors
/// As `std::thread::Builder::spawn`.
pub fn spawn(name: &str, f: impl FnOnce() + Send + 'static) -> io::Result<()> {
    start(name, |_| f())
}

/// As [`spawn`], for a thread that calls functions of the program's: it has the signal mask of the program's thread for which it is
/// started, and so have programs that they execute.
///
/// # Errors
/// As [`spawn`].
pub fn spawn_for_callbacks(name: &str, f: impl FnOnce() + Send + 'static) -> io::Result<()> {
    start(name, |of_program| {
        of_program.set();
        f();
    })
}

fn start(name: &str, f: impl FnOnce(Mask) + Send + 'static) -> io::Result<()> {
    let helpers = HELPERS.get();
    let blocked = signals::block_all();
    let of_program = OF_PROGRAM.get().unwrap_or(blocked.former());
    // SeqCst, as all of `running`: starts are rare, and `count` compares it with the list of handles.
    helpers.running.fetch_add(1, SeqCst);
    // Not under the lock: where no thread can be had, `f` is dropped here, and may want a helper for that.
    let started = std::thread::Builder::new().name(name.into()).spawn(move || {
        OF_PROGRAM.set(Some(of_program));
        f(of_program);
        HELPERS.get().running.fetch_sub(1, SeqCst);
    });
    drop(blocked);
    match started {
        Ok(handle) => {
            let mut handles = helpers.handles.lock().unwrap_or_else(PoisonError::into_inner);
            handles.retain(|handle| !handle.is_finished());
            handles.push(handle);
            Ok(())
        }
        Err(e) => {
            helpers.running.fetch_sub(1, SeqCst);
            Err(e)
        }
    }
}

/// How many helper threads the calling process has. Waits for those that are just ending, so that the kernel's count
/// agrees.
pub fn count() -> usize {
    let helpers = HELPERS.get();
    let mut handles = helpers.handles.lock().unwrap_or_else(PoisonError::into_inner);
    while handles.len() > helpers.running.load(SeqCst) {
        match handles.iter().position(JoinHandle::is_finished) {
            Some(i) => drop(handles.swap_remove(i).join()),
            None => std::thread::yield_now(),
        }
    }
    handles.len()
}
