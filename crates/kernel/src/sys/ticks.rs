//! A clock that costs next to nothing to read and need not be right.
//!
//! # Safety
//! Both instructions only read a counter; every program may.
#![allow(unsafe_code)]

/// Ticks of the processor's own counter, which runs at some constant rate of 10 MHz to some GHz.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn now() -> u64 {
    // SAFETY: every x86-64 has it, and Linux lets programs use it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Ticks of the processor's own counter.
#[cfg(target_arch = "aarch64")]
#[inline]
pub fn now() -> u64 {
    let ticks: u64;
    // SAFETY: reads a register that Linux lets programs read.
    unsafe { std::arch::asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack)) };
    ticks
}

/// Nanoseconds, where there is no cheaper clock.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline]
pub fn now() -> u64 {
    static BEGIN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    BEGIN.get_or_init(std::time::Instant::now).elapsed().as_nanos() as u64
}
