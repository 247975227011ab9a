//! The calling process's number.
//!
//! # Safety
//! The call takes and changes nothing.
#![allow(unsafe_code)]

/// The pid of the calling process.
#[inline]
pub fn own() -> i32 {
    // SAFETY: takes and changes nothing.
    unsafe { libc::syscall(libc::SYS_getpid) as i32 }
}
