//! What must be forgotten in a forked child: whoever keeps per-process state registers how to reset it.
//!
//! Runs in children of `fork(2)` in all its forms that go through the C library (`libc::fork`, [`crate::fork`],
//! [`crate::Process::fork`]). A child of the fork server is a fresh image and needs no reset.
//!
//! # Safety
//! `pthread_atfork` is given plain functions that live as long as the program.
#![allow(unsafe_code)]

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU32, Ordering::Relaxed},
};

type Hooks = Vec<fn()>;

static HOOKS: Mutex<Hooks> = Mutex::new(Vec::new());
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// Has `hook` called in every child that this process forks from now on, and in their forked children, on the thread
/// that lives on there. Hooks run in the order of their registration and must not block.
pub fn on_child(hook: fn()) {
    install();
    hooks().push(hook);
}

/// How many forks lie between the exec of this image and the calling process, counted from the first call on: it is
/// another number in a forked child than in its parent if the parent has called this before.
pub fn generation() -> u32 {
    install();
    GENERATION.load(Relaxed)
}

fn install() {
    static INSTALL: std::sync::Once = std::sync::Once::new();
    INSTALL.call_once(|| {
        // SAFETY: the handlers are functions of this program, and are never unloaded before it.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    });
}

fn hooks() -> MutexGuard<'static, Hooks> {
    HOOKS.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    // Held from `before` to `in_parent`/`in_child`, so that the list is whole in the child.
    static HELD: std::cell::RefCell<Option<MutexGuard<'static, Hooks>>> = const { std::cell::RefCell::new(None) };
}

extern "C" fn before() {
    HELD.with_borrow_mut(|held| *held = Some(hooks()));
}

extern "C" fn in_parent() {
    HELD.with_borrow_mut(|held| *held = None);
}

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Relaxed);
    let hooks = HELD.with_borrow_mut(Option::take);
    for hook in hooks.iter().flat_map(|hooks| hooks.iter()) {
        hook();
    }
}
