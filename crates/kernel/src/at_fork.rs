//! What must be forgotten in a forked child: code that keeps per-process state registers how to reset it.
//!
//! Runs in children of `fork(2)` in all its forms that go through the C library (`libc::fork`, and
//! proc-core's). A child of the fork server is a fresh image and needs no reset.
//!
//! # Safety
//! `pthread_atfork` is given plain functions that live as long as the program.
#![allow(unsafe_code)]

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use crate::thread_slot::ThreadSlot;

type Hooks = Vec<fn()>;

/// Together on one line, since each fork writes to all of them, in the parent and in the child: each copies one page for it.
#[repr(align(64))]
struct Forks {
    /// Held by a fork, and by those that forks are to wait for.
    forking: Mutex<()>,
    hooks: Mutex<Hooks>,
    generation: AtomicU32,
}

static FORKS: Forks = Forks { forking: Mutex::new(()), hooks: Mutex::new(Vec::new()), generation: AtomicU32::new(0) };

/// Calls `hook` in every child that this process forks from now on, and in their forked children, on the thread
/// that lives on there. Hooks run in the order of their registration and must not block.
pub fn on_child(hook: fn()) {
    install();
    hooks().push(hook);
}

/// How many forks lie between the exec of this image and the calling process, counted from the first call on: it is
/// another number in a forked child than in its parent if the parent has called this before.
#[inline]
pub fn generation() -> u32 {
    install();
    // Relaxed: it only changes in a child's one thread, before that runs anything else.
    FORKS.generation.load(Relaxed)
}

#[inline]
fn install() {
    static INSTALL: std::sync::Once = std::sync::Once::new();
    INSTALL.call_once(|| {
        // SAFETY: the handlers are functions of this program, and are never unloaded before it.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    });
}

fn hooks() -> MutexGuard<'static, Hooks> {
    FORKS.hooks.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `f`; forks by other threads (those that go through the C library) wait meanwhile. For what must not be
/// halfway done in a forked child; it takes microseconds. `f` may call this again.
pub fn while_nobody_forks<R>(f: impl FnOnce() -> R) -> R {
    install();
    if MINE.get() {
        return f();
    }
    let _nobody_forks = FORKS.forking.lock().unwrap_or_else(PoisonError::into_inner);
    let _mine = Mine::new();
    f()
}

thread_local! {
    /// Whether this thread keeps the others from forking. A signal handler that forks there does not wait for itself.
    static MINE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

struct Mine;

impl Mine {
    fn new() -> Self {
        MINE.set(true);
        Self
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        MINE.set(false);
    }
}

struct Held {
    hooks: MutexGuard<'static, Hooks>,
    _forking: Option<MutexGuard<'static, ()>>,
}

thread_local! {
    // Held from `before` to `in_parent`/`in_child`, so that the list is whole in the child.
    static HELD: ThreadSlot<Held> = const { ThreadSlot::new() };
}

/// For a child that a process with one thread made by a bare system call (`sys::clone`): does in the child what the C
/// library's fork would have caused there.
pub fn note_bare_fork() {
    before();
    in_child();
}

extern "C" fn before() {
    let forking = (!MINE.get()).then(|| FORKS.forking.lock().unwrap_or_else(PoisonError::into_inner));
    HELD.with(|held| held.replace(Some(Held { hooks: hooks(), _forking: forking })));
}

extern "C" fn in_parent() {
    HELD.with(|held| held.take());
}

extern "C" fn in_child() {
    FORKS.generation.fetch_add(1, Relaxed);
    let held = HELD.with(|held| held.take());
    for hook in held.iter().flat_map(|held| held.hooks.iter()) {
        hook();
    }
}
