//! Filters of system calls.
//!
//! # Safety
//! One call that takes integers and changes nothing.
#![allow(unsafe_code)]

/// Whether this kernel has them.
pub fn is_available() -> bool {
    // SAFETY: asks for the calling thread's mode; takes integers.
    unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) >= 0 }
}
