//! Orderings that ThreadSanitizer does not see. The linker leads the calls that bring them about here (`--wrap`), and the tool is
//! told.
//!
//! * The acquire fence after the decrement of an `Arc`'s count. A fence orders what comes after it behind the writers of all
//!   that the thread has read before; the tool only knows orderings that an access has itself, so whoever drops the last
//!   handle would race with all that others did by theirs. The fence acquires the counter that was decremented last. Other
//!   fences of this workspace decide who sees whom first, and no data go by them.
//! * `FUTEX_WAKE_OP`, by which the kernel itself changes a word, such as that of an event that is set. For it, the change is
//!   ordered behind all that its caller did before (`lock` on x86-64; `stlxr` and `dmb` on aarch64).
//!
//! `cargo xtask sanitize` compiles this by itself, without the tool.

#![no_std]
#![feature(thread_local)]

use core::{
    cell::Cell,
    ffi::{c_long, c_void},
    ptr,
};

#[thread_local]
static DECREMENTED: Cell<*mut u64> = Cell::new(ptr::null_mut());

const FUTEX: c_long = 202;
const WAKE_OP: c_long = 5;
/// Flags beside an operation: private, and by which clock.
const FLAGS: c_long = 128 | 256;

unsafe extern "C" {
    fn __real___tsan_atomic64_fetch_sub(counter: *mut u64, by: u64, order: i32) -> u64;
    fn __real___tsan_atomic_thread_fence(order: i32);
    fn __real_syscall(number: c_long, ...) -> c_long;
    fn __tsan_acquire(address: *mut c_void);
    fn __tsan_release(address: *mut c_void);
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

/// Takes as many arguments as any call has: those that a caller has not given are passed on unread.
///
/// # Safety
///
/// As for the function that it stands before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __wrap_syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    if number == FUTEX && b & !FLAGS == WAKE_OP {
        // SAFETY: as above; the fifth argument is the word that is changed.
        unsafe { __tsan_release(ptr::with_exposed_provenance_mut(e as usize)) };
    }
    // SAFETY: the caller's.
    unsafe { __real_syscall(number, a, b, c, d, e, f) }
}
