//! What ThreadSanitizer does not do: the acquire fence after the decrement of an `Arc`'s count.
//!
//! A fence orders what comes after it behind the writers of all that the thread has read before. The tool only knows orderings
//! that an access has itself, so whoever drops the last handle would race with all that others did by theirs. The linker leads
//! both calls here (`--wrap`): the fence acquires the counter that was decremented last. Other fences of this workspace decide
//! who sees whom first, and no data go by them; other decrements acquire no more than the language says.
//!
//! `cargo xtask sanitize` compiles this by itself, without the tool.

#![no_std]
#![feature(thread_local)]

use core::{cell::Cell, ffi::c_void, ptr};

#[thread_local]
static DECREMENTED: Cell<*mut u64> = Cell::new(ptr::null_mut());

unsafe extern "C" {
    fn __real___tsan_atomic64_fetch_sub(counter: *mut u64, by: u64, order: i32) -> u64;
    fn __real___tsan_atomic_thread_fence(order: i32);
    fn __tsan_acquire(address: *mut c_void);
}

/// # Safety
///
/// As for the function that it stands before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __wrap___tsan_atomic64_fetch_sub(counter: *mut u64, by: u64, order: i32) -> u64 {
    DECREMENTED.set(counter);
    // SAFETY: the caller's.
    unsafe { __real___tsan_atomic64_fetch_sub(counter, by, order) }
}

/// # Safety
///
/// As for the function that it stands before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __wrap___tsan_atomic_thread_fence(order: i32) {
    // SAFETY: the caller's.
    unsafe { __real___tsan_atomic_thread_fence(order) };
    let counter = DECREMENTED.replace(ptr::null_mut());
    if !counter.is_null() {
        // SAFETY: the tool looks the address up among those that it knows, and reads nothing there.
        unsafe { __tsan_acquire(counter.cast()) };
    }
}
