//! Ends a test that hangs, and says where everybody was.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use crate::{processes, sys};

/// Watches over the test until it is dropped. See [`watchdog()`].
#[derive(Debug)]
#[must_use = "a watchdog watches until it is dropped"]
pub struct Watchdog {
    owner: u32,
    called_off: Arc<AtomicBool>,
    watcher: Thread,
}

/// Ends the calling process if the returned guard still lives after `limit`: prints where each thread of this process
/// and of all its descendants is, kills the descendants, and exits with status 101.
///
/// Starts one thread. In a forked child, the guard does nothing.
///
/// # Panics
/// If that thread cannot be started.
///
/// # Examples
/// ```
/// let _dog = test_support::watchdog(std::time::Duration::from_secs(10));
/// // … what might hang …
/// ```
pub fn watchdog(limit: Duration) -> Watchdog {
    let called_off = Arc::new(AtomicBool::new(false));
    let test = thread::current().name().unwrap_or("?").to_owned();
    let watcher = thread::Builder::new().name("watchdog".into()).spawn({
        let called_off = Arc::clone(&called_off);
        move || watch(&test, limit, &called_off)
    });
    let watcher = watcher.expect("a process under test can start a thread").thread().clone();
    Watchdog { owner: std::process::id(), called_off, watcher }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if std::process::id() == self.owner {
            self.called_off.store(true, Ordering::Release);
            self.watcher.unpark();
        }
    }
}

fn watch(test: &str, limit: Duration, called_off: &AtomicBool) {
    let deadline = Instant::now() + limit;
    while !called_off.load(Ordering::Acquire) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bite(test, limit);
        }
        thread::park_timeout(left);
    }
}

fn bite(test: &str, limit: Duration) -> ! {
    let me = std::process::id().cast_signed();
    let family = processes::family();
    // Not `eprintln!`: the test harness would keep that to itself, and the end of the process would swallow it.
    let mut out = std::io::stderr();
    let _ = writeln!(out, "\nwatchdog: {test} still runs after {limit:?}");
    for pid in std::iter::once(me).chain(family.iter().copied()) {
        let _ = out.write_all(processes::whereabouts(pid).as_bytes());
        let _ = out.write_all(processes::backtraces(pid).as_bytes());
    }
    processes::kill_all(&family);
    sys::exit_now(101)
}
