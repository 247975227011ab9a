//! Cache lines asked for before they are needed. Never an error, whatever the address.
//!
//! # Safety
//! Instructions that change nothing that a program can see.
#![allow(unsafe_code)]

use std::{arch::asm, ptr::NonNull};

/// How many lines of a message are asked for, so as not to drive out what is in use.
const LINES: usize = 5;
const LINE_BYTES: usize = 64;

/// So many bytes will be read.
#[inline(always)]
pub(crate) fn to_read(at: NonNull<u8>, bytes: usize) {
    each_line::<false>(at, bytes);
}

/// So many bytes will be written.
#[inline(always)]
pub(crate) fn to_write(at: NonNull<u8>, bytes: usize) {
    each_line::<true>(at, bytes);
}

#[inline(always)]
fn each_line<const WRITE: bool>(at: NonNull<u8>, bytes: usize) {
    hint::<WRITE>(at.as_ptr());
    // Most messages are in one line.
    if bytes > LINE_BYTES {
        for line in 1..bytes.div_ceil(LINE_BYTES).min(LINES) {
            hint::<WRITE>(at.as_ptr().wrapping_add(line * LINE_BYTES));
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn hint<const WRITE: bool>(at: *const u8) {
    if WRITE {
        // SAFETY: a hint; processors without it do nothing.
        unsafe { asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags, readonly)) }
    } else {
        // SAFETY: a hint.
        unsafe { asm!("prefetcht0 [{}]", in(reg) at, options(nostack, preserves_flags, readonly)) }
    }
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn hint<const WRITE: bool>(at: *const u8) {
    if WRITE {
        // SAFETY: a hint.
        unsafe { asm!("prfm pstl1keep, [{}]", in(reg) at, options(nostack, preserves_flags, readonly)) }
    } else {
        // SAFETY: a hint.
        unsafe { asm!("prfm pldl1keep, [{}]", in(reg) at, options(nostack, preserves_flags, readonly)) }
    }
}
