//! Two neighbouring words of memory, compared and swapped in one step.
//!
//! # Safety
//! One instruction (x86-64) or one load-exclusive/store-exclusive pair (aarch64) on memory that is borrowed as two
//! atomic words; each half is an atomic word of its own for code that looks at it alone. Under ThreadSanitizer, which sees no
//! instruction that is written here, it is told of their ordering.
#![allow(unsafe_code)]

use std::sync::atomic::AtomicU64;

/// Two words, of which each can be read by itself, and both be swapped at once.
#[derive(Debug, Default)]
#[repr(C, align(16))]
pub(crate) struct DoubleWord {
    pub(crate) first: AtomicU64,
    pub(crate) second: AtomicU64,
}

/// Whether this processor can do it: every one of 64 bits, but for the very first.
pub(crate) fn is_available() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("cmpxchg16b");
    #[cfg(not(target_arch = "x86_64"))]
    true
}

impl DoubleWord {
    /// Swaps both words from one pair to another, if that is what they are; as ordered as sequential consistency has it.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn swap(&self, from: (u64, u64), to: (u64, u64)) -> bool {
        let swapped: u8;
        #[cfg(tsan)]
        let _told = tsan::Swap::of(&self.first);
        // SAFETY: 16 bytes, aligned to 16, that are borrowed, and that all code changes atomically. `rbx` is the
        // compiler's own, so it is put back; `rdi` and `r8` are named so that no operand can be `rbx`.
        unsafe {
            std::arch::asm!(
                "xchg rbx, r9",
                "lock cmpxchg16b xmmword ptr [rdi]",
                "sete r8b",
                "mov rbx, r9",
                in("rdi") std::ptr::from_ref(self),
                inout("rax") from.0 => _,
                inout("rdx") from.1 => _,
                inout("r9") to.0 => _,
                in("rcx") to.1,
                out("r8b") swapped,
                options(nostack),
            );
        }
        swapped != 0
    }

    /// Swaps both words from one pair to another, if that is what they are; as ordered as sequential consistency has it.
    #[cfg(target_arch = "aarch64")]
    #[inline]
    pub(crate) fn swap(&self, from: (u64, u64), to: (u64, u64)) -> bool {
        let (differs, failed): (u64, u32);
        // SAFETY: 16 bytes, aligned to 16, that are borrowed, and that all code changes atomically. What was read is
        // stored again where it differs: only the store proves that both halves were read at one moment.
        unsafe {
            std::arch::asm!(
                "2:",
                "ldaxp {first}, {second}, [{at}]",
                "eor {differs}, {first}, {from_first}",
                "eor {other}, {second}, {from_second}",
                "orr {differs}, {differs}, {other}",
                "cmp {differs}, #0",
                "csel {first}, {to_first}, {first}, eq",
                "csel {second}, {to_second}, {second}, eq",
                "stlxp {failed:w}, {first}, {second}, [{at}]",
                "cbnz {failed:w}, 2b",
                at = in(reg) std::ptr::from_ref(self),
                from_first = in(reg) from.0,
                from_second = in(reg) from.1,
                to_first = in(reg) to.0,
                to_second = in(reg) to.1,
                first = out(reg) _,
                second = out(reg) _,
                other = out(reg) _,
                differs = out(reg) differs,
                failed = out(reg) failed,
                options(nostack),
            );
        }
        let _ = failed;
        differs == 0
    }
}

/// What ThreadSanitizer is told, in the builds of `cargo xtask sanitize`.
#[cfg(tsan)]
mod tsan {
    use std::sync::atomic::AtomicU64;

    unsafe extern "C" {
        fn __tsan_acquire(address: *const AtomicU64);
        fn __tsan_release(address: *const AtomicU64);
    }

    /// A swap that begins, and ends when this is dropped. The release comes before it, or those who see the swap could be
    /// earlier; so one that fails seems to release, too.
    pub(super) struct Swap<'a>(&'a AtomicU64);

    impl<'a> Swap<'a> {
        pub(super) fn of(word: &'a AtomicU64) -> Self {
            // SAFETY: the tool takes any address, and reads nothing there.
            unsafe { __tsan_release(word) };
            Self(word)
        }
    }

    impl Drop for Swap<'_> {
        fn drop(&mut self) {
            // SAFETY: as above.
            unsafe { __tsan_acquire(self.0) };
        }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("queues need a compare-and-swap of two words: x86-64 and aarch64 are written");

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::Ordering::{Acquire, Relaxed},
        thread,
    };

    use super::*;

    #[test]
    fn both_words_are_swapped_or_neither() {
        let words = DoubleWord::default();
        assert!(words.swap((0, 0), (1, u64::MAX)));
        for from in [(0, u64::MAX), (1, 0), (u64::MAX, 1), (0, 0)] {
            assert!(!words.swap(from, (7, 7)));
            assert_eq!((words.first.load(Relaxed), words.second.load(Relaxed)), (1, u64::MAX));
        }
    }

    #[test]
    fn swaps_of_several_threads_are_counted_once_each() {
        let words = DoubleWord::default();
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        loop {
                            let n = words.first.load(Acquire);
                            if words.swap((n, n.wrapping_mul(3)), (n + 1, (n + 1).wrapping_mul(3))) {
                                break;
                            }
                        }
                    }
                });
            }
        });
        assert_eq!((words.first.load(Relaxed), words.second.load(Relaxed)), (60_000, 180_000));
    }
}
