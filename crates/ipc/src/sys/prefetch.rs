//! Cache lines asked for before they are needed. Never an error, whatever the address.
//!
//! # Safety
//! Instructions that change nothing that a program can see.
#![allow(unsafe_code)]

use std::ptr::NonNull;

/// The line will be read.
#[inline(always)]
pub(crate) fn to_read<T>(at: NonNull<T>) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint.
    unsafe {
        std::arch::asm!("prefetcht0 [{}]", in(reg) at.as_ptr(), options(nostack, preserves_flags, readonly));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) at.as_ptr(), options(nostack, preserves_flags, readonly));
    }
}

/// The line will be written to.
#[inline(always)]
pub(crate) fn to_write<T>(at: NonNull<T>) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint; processors without it do nothing.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) at.as_ptr(), options(nostack, preserves_flags, readonly));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint.
    unsafe {
        std::arch::asm!("prfm pstl1keep, [{}]", in(reg) at.as_ptr(), options(nostack, preserves_flags, readonly));
    }
}
