//! The text of the last panic, where a signal handler can read it.
//!
//! # Safety
//! The text belongs to the thread that has set [`IS_TAKEN`]; no thread waits for it.
#![allow(unsafe_code)]

use std::{
    cell::UnsafeCell,
    fmt,
    sync::atomic::{
        AtomicBool,
        Ordering::{Acquire, Release},
    },
};

use super::packet::PANIC_BYTES;

struct PanicText(UnsafeCell<(usize, [u8; PANIC_BYTES])>);

// SAFETY: used only by the thread that has set `IS_TAKEN`.
unsafe impl Sync for PanicText {}

static TEXT: PanicText = PanicText(UnsafeCell::new((0, [0; PANIC_BYTES])));
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// What the compiler adds where a panic may not go on; the one before says more.
const CONSEQUENCES: [&str; 2] = ["panic in a destructor during cleanup", "panic in a function that cannot unwind"];

/// Notes a panic and where it began, cut off where that is too long. Of two at once, one is noted.
pub(crate) fn note(message: &str, panic: impl fmt::Display) {
    if CONSEQUENCES.contains(&message) || IS_TAKEN.swap(true, Acquire) {
        return;
    }
    // SAFETY: `IS_TAKEN` has been set by this thread.
    let (len, text) = unsafe { &mut *TEXT.0.get() };
    let mut rest = &mut text[..];
    // What does not fit is cut off.
    let _ = std::io::Write::write_fmt(&mut rest, format_args!("{panic}"));
    *len = PANIC_BYTES - rest.len();
    IS_TAKEN.store(false, Release);
}

/// Shows `f` the text: nothing if there was no panic, or if one is being noted right now. Takes no lock.
pub(super) fn with<R>(f: impl FnOnce(&[u8]) -> R) -> R {
    if IS_TAKEN.swap(true, Acquire) {
        return f(&[]);
    }
    // SAFETY: `IS_TAKEN` has been set by this thread.
    let (len, text) = unsafe { &*TEXT.0.get() };
    let shown = f(text.get(..*len).unwrap_or_default());
    IS_TAKEN.store(false, Release);
    shown
}
