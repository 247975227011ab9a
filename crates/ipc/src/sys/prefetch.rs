//! Cache lines asked for before they are needed. Never an error, whatever the address.
//!
//! # Safety
//! Instructions that change nothing that a program can see.
#![allow(unsafe_code)]

use std::ptr::NonNull;

/// How many lines of a message are asked for, so as not to drive out what is in use.
const LINES: usize = 5;
const LINE_BYTES: usize = 64;

/// So many bytes will be read.
#[inline(always)]
pub(crate) fn to_read(at: NonNull<u8>, bytes: usize) {
    for line in 0..bytes.div_ceil(LINE_BYTES).min(LINES) {
        let _at = at.as_ptr().wrapping_add(line * LINE_BYTES);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a hint.
        unsafe {
            std::arch::asm!("prefetcht0 [{}]", in(reg) _at, options(nostack, preserves_flags, readonly));
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: a hint.
        unsafe {
            std::arch::asm!("prfm pldl1keep, [{}]", in(reg) _at, options(nostack, preserves_flags, readonly));
        }
    }
}

/// So many bytes will be written.
#[inline(always)]
pub(crate) fn to_write(at: NonNull<u8>, bytes: usize) {
    for line in 0..bytes.div_ceil(LINE_BYTES).min(LINES) {
        let _at = at.as_ptr().wrapping_add(line * LINE_BYTES);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a hint; processors without it do nothing.
        unsafe {
            std::arch::asm!("prefetchw [{}]", in(reg) _at, options(nostack, preserves_flags, readonly));
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: a hint.
        unsafe {
            std::arch::asm!("prfm pstl1keep, [{}]", in(reg) _at, options(nostack, preserves_flags, readonly));
        }
    }
}
