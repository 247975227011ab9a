//! Ends a test that hangs, and says where everybody was.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::AcqRel, Ordering::Acquire},
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
    state: Arc<AtomicU8>,
    watcher: Thread,
}

/// A longer time from one look to the next was a stall of the whole machine, in which the test could not go on either.
const LONGEST_NAP: Duration = Duration::from_secs(1);

const WATCHING: u8 = 0;
const CALLED_OFF: u8 = 1;
const BITING: u8 = 2;

/// Ends the calling process if the returned guard still lives after `limit`: prints where each thread of this process
/// and of all its descendants is, kills the descendants, and exits with status 101.
///
/// Starts one thread. In a forked child, the guard does nothing. Where everything is slow, as under an emulator, the
/// environment's `WATCHDOG_TIMES` makes all limits so many times as long.
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
    let times = std::env::var("WATCHDOG_TIMES").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let limit = limit.saturating_mul(times);
    let state = Arc::new(AtomicU8::new(WATCHING));
    let test = thread::current().name().unwrap_or("?").to_owned();
    let watcher = thread::Builder::new().name("watchdog".into()).spawn({
        let state = Arc::clone(&state);
        move || watch(&test, limit, &state)
    });
    let watcher = watcher.expect("a process under test can start a thread").thread().clone();
    Watchdog { owner: std::process::id(), state, watcher }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if std::process::id() != self.owner {
            return;
        }
        // What it waited for may have ended because the watchdog ends everything: too late to call the test a success.
        while self.state.compare_exchange(WATCHING, CALLED_OFF, AcqRel, Acquire).is_err() {
            thread::park();
        }
        self.watcher.unpark();
    }
}

fn watch(test: &str, limit: Duration, state: &AtomicU8) {
    let mut left = limit;
    while state.load(Acquire) == WATCHING {
        if left.is_zero() && state.compare_exchange(WATCHING, BITING, AcqRel, Acquire).is_ok() {
            bite(test, limit);
        }
        let nap = left.min(LONGEST_NAP);
        let begun = Instant::now();
        thread::park_timeout(nap);
        left -= begun.elapsed().min(nap);
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
