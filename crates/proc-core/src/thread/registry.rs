//! Which threads there are.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{
    handle::{STARTED, Thread},
    native,
};
use crate::exit::{self, Stage};
use kernel::{at_fork, fork_local::ForkLocal};

#[derive(Default)]
struct Registry {
    alive: Mutex<BTreeMap<u64, Thread>>,
    main: OnceLock<Thread>,
    named: AtomicU64,
    idents: AtomicU64,
    strangers: AtomicU64,
}

static REGISTRY: ForkLocal<Registry> = ForkLocal::new();

struct Current {
    generation: u32,
    thread: Thread,
    /// Not started by us, so no other code notes its end.
    stranger: bool,
}

impl Drop for Current {
    fn drop(&mut self) {
        if self.stranger && self.generation == at_fork::generation() {
            remove(&self.thread);
            self.thread.end();
        }
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// The calling thread. In the main thread, and in the only thread of a forked child, that is the `MainThread`; a thread
/// that was not started with this module is given a name and appears in [`enumerate`] from now on.
#[doc(alias = "current_thread")]
pub fn current() -> Thread {
    let generation = at_fork::generation();
    let known = CURRENT
        .try_with(|current| current.borrow().as_ref().filter(|c| c.generation == generation).map(|c| c.thread.clone()));
    match known {
        Ok(Some(thread)) => thread,
        _ if native::is_main() => main_thread(),
        _ => stranger(),
    }
}

/// The thread that runs `main`.
pub fn main_thread() -> Thread {
    let registry = REGISTRY.get();
    let make = || {
        let thread = Thread::new(next_ident(), "MainThread".to_owned(), false, STARTED);
        thread.0.native_id.store(std::process::id(), Relaxed);
        thread
    };
    registry.main.get_or_init(make).clone()
}

/// All threads that are alive, the main thread and daemons included, the oldest first.
pub fn enumerate() -> Vec<Thread> {
    let others = alive();
    std::iter::once(main_thread()).chain(others.values().cloned()).collect()
}

/// How many threads are alive: the length of [`enumerate`].
pub fn active_count() -> usize {
    1 + alive().len()
}

/// Waits until all threads that are no daemons have ended; on the main thread only, for another thread that ends the
/// process may be one that those to be waited for wait for.
///
/// Uses no thread-locals.
fn join_all() {
    if native::is_main() {
        // Those that end may have started others meanwhile.
        while let Some(thread) = non_daemon() {
            thread.wait(None);
        }
    }
}

/// Some thread other than the calling one that the end of the process must wait for.
fn non_daemon() -> Option<Thread> {
    let me = native::own_id();
    alive().values().find(|thread| !thread.is_daemon() && thread.native_id() != Some(me)).cloned()
}

/// Makes the end of this process, and of those forked from it, wait for threads that are no daemons.
pub(super) fn join_all_at_exit() {
    exit::register(Stage::Threads, join_all);
}

pub(super) fn add(thread: &Thread) {
    alive().insert(thread.ident(), thread.clone());
}

pub(super) fn remove(thread: &Thread) {
    alive().remove(&thread.ident());
}

pub(super) fn set_current(thread: &Thread) {
    CURRENT.set(Some(Current { generation: at_fork::generation(), thread: thread.clone(), stranger: false }));
}

/// Whether the calling thread was started with this module.
pub(super) fn is_ours() -> bool {
    CURRENT.try_with(|current| current.borrow().as_ref().is_some_and(|c| !c.stranger)).unwrap_or(false)
}

pub(super) fn next_ident() -> u64 {
    // Relaxed, as the two below: only that no two are the same.
    REGISTRY.get().idents.fetch_add(1, Relaxed) + 1
}

pub(super) fn next_name() -> String {
    format!("Thread-{}", REGISTRY.get().named.fetch_add(1, Relaxed) + 1)
}

fn stranger() -> Thread {
    let number = || REGISTRY.get().strangers.fetch_add(1, Relaxed) + 1;
    // std's own handle may be gone where ours is, and asking for it a panic.
    let is_alive = CURRENT.try_with(|_| ()).is_ok();
    let name = is_alive.then(std::thread::current).and_then(|thread| thread.name().map(str::to_owned));
    let name = name.unwrap_or_else(|| format!("Dummy-{}", number()));
    let thread = Thread::new(next_ident(), name, true, STARTED);
    thread.begin();
    let current = Current { generation: at_fork::generation(), thread: thread.clone(), stranger: true };
    // While the thread is being torn down there is no place for this any more, so it is not listed either.
    if CURRENT.try_with(|place| place.replace(Some(current))).is_ok() {
        add(&thread);
    }
    thread
}

fn alive() -> MutexGuard<'static, BTreeMap<u64, Thread>> {
    REGISTRY.get().alive.lock().unwrap_or_else(PoisonError::into_inner)
}
