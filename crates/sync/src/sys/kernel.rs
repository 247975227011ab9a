//! The kernel's futexes, as the state machines want them.
//!
//! # Safety
//! `FUTEX_WAKE_OP` changes the word that the reference points at, which is an atomic one; nothing else is handed in.
#![allow(unsafe_code)]

use std::{
    cell::Cell,
    hint,
    sync::{
        OnceLock,
        atomic::{AtomicU32, AtomicU64},
    },
    thread,
};

use proc_core::futex::{self, Deadline, Wait};

use crate::machine::Futex;

/// Shared futexes in front of which one spins for a short while, if there is a CPU for the other side to run on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel;

/// How often to look again at most before going to sleep, and at least.
const SPINS: std::ops::RangeInclusive<u32> = 4..=100;

thread_local! {
    /// How often this thread looks again: less after each time that it was in vain, more with each time that it begins.
    /// So there is little spinning where the other side is slow or waits for this CPU.
    static PATIENCE: Cell<u32> = const { Cell::new(*SPINS.end()) };
}

const FUTEX_OP_ADD: u32 = 1;
const FUTEX_OP_OR: u32 = 2;

impl Futex for Kernel {
    fn wait(&self, state: &AtomicU64, expected: u32, deadline: Option<Deadline>) -> bool {
        futex::wait(low_half(state), expected, deadline) != Wait::TimedOut
    }

    fn wake(&self, state: &AtomicU64, n: u32) -> u32 {
        futex::wake(low_half(state), n) as u32
    }

    fn increment_and_wake(&self, state: &AtomicU64, n: u32) -> u32 {
        change_and_wake(low_half(state), FUTEX_OP_ADD, n)
    }

    fn set_lowest_bit_and_wake_all(&self, state: &AtomicU64) {
        change_and_wake(low_half(state), FUTEX_OP_OR, u32::MAX);
    }

    fn spin(&self, round: u32) -> bool {
        let patience = PATIENCE.get();
        if round >= patience || !is_parallel() {
            PATIENCE.set((patience * 3 / 4).max(*SPINS.start()));
            return false;
        }
        if round == 0 {
            PATIENCE.set((patience + 1).min(*SPINS.end()));
        }
        hint::spin_loop();
        true
    }
}

fn low_half(state: &AtomicU64) -> &AtomicU32 {
    const { assert!(cfg!(target_endian = "little"), "the low half of a word comes first") };
    // SAFETY: the first four bytes of eight that live as long; they are used as an address here, and by the kernel.
    unsafe { AtomicU32::from_ptr(state.as_ptr().cast()) }
}

fn is_parallel() -> bool {
    static PARALLEL: OnceLock<bool> = OnceLock::new();
    *PARALLEL.get_or_init(|| thread::available_parallelism().is_ok_and(|n| n.get() > 1))
}

/// Combines the word with 1 by `op` and wakes at most `n` of its sleepers, in one step.
fn change_and_wake(word: &AtomicU32, op: u32, n: u32) -> u32 {
    let n = i32::try_from(n).unwrap_or(i32::MAX);
    // The operand is 1. The call can wake more if the former value equals another one; it may as well, once in 2^32.
    let (operand, compare_equal, other) = (1, 0, 0x800);
    let encoded: u32 = op << 28 | compare_equal << 24 | operand << 12 | other;
    let address = word.as_ptr();
    // SAFETY: both addresses are that of an atomic word that outlives the call.
    let woken = unsafe { libc::syscall(libc::SYS_futex, address, libc::FUTEX_WAKE_OP, n, 0usize, address, encoded) };
    u32::try_from(woken).unwrap_or(0)
}
