//! The kernel's futexes, as the state machines want them.
//!
//! # Safety
//! Half of an atomic word is an atomic word.
#![allow(unsafe_code)]

use std::{
    cell::Cell,
    hint,
    sync::atomic::{AtomicU32, AtomicU64},
    time::{Duration, Instant},
};

use kernel::{
    futex::{self, Change, Deadline, Wait},
    sys::cpus,
};

use super::{robust::ThreadList, threads};
use crate::machine::{Futex, Slept};

/// Shared futexes in front of which one spins for a short while, if there is a CPU for the other side to run on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel;

/// How often to look again at most before going to sleep, and at least.
const SPINS: std::ops::RangeInclusive<u32> = 4..=100;

thread_local! {
    /// How often this thread looks again: less after each time that it was in vain, more with each time that it begins.
    /// So there is little spinning where the other side is slow or waits for this CPU.
    static PATIENCE: Cell<u32> = const { Cell::new(*SPINS.end()) };
    /// When this thread last found a lock taken.
    static CONTENDED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A thread that finds a lock taken twice within this time contends with a thread that does little else.
const FIGHT: Duration = Duration::from_micros(1);

/// How long to stay away from a contended lock. Two CPUs that take its cache line from each other for every single
/// acquisition are several times slower than two of which each has it for a while.
const TRUCE: Duration = Duration::from_micros(4);

/// For how long to take it on trust that a thread holds what its word says.
const LONG: Duration = Duration::from_secs(1);

impl Futex for Kernel {
    fn wait(&self, state: &AtomicU64, expected: u32, deadline: Option<Deadline>) -> bool {
        futex::wait(low_half(state), expected, deadline) != Wait::TimedOut
    }

    fn wait_for(&self, holder: u32, state: &AtomicU64, expected: u32, deadline: Option<Deadline>) -> Slept {
        // Else the kernel would, if this thread is killed, take the lock from one of another pid namespace with the same id.
        let _unannounced = ThreadList::get().filter(|list| list.tid() == holder).map(ThreadList::withdraw);
        let look = deadline.filter(|deadline| deadline.remaining() < LONG).or_else(|| Deadline::after(LONG));
        match futex::wait(low_half(state), expected, look) {
            Wait::TimedOut if deadline.is_some_and(|deadline| deadline.has_passed()) => Slept::TimedOut,
            Wait::TimedOut if !threads::may_use(holder, state.as_ptr().addr()) => Slept::ForNobody,
            _ => Slept::Woken,
        }
    }

    fn wake(&self, state: &AtomicU64, n: u32) -> u32 {
        futex::wake(low_half(state), n) as u32
    }

    fn increment_and_wake(&self, state: &AtomicU64, n: u32) -> u32 {
        futex::change_and_wake(low_half(state), Change::Increment, n) as u32
    }

    fn set_lowest_bit_and_wake_all(&self, state: &AtomicU64) {
        futex::change_and_wake(low_half(state), Change::SetLowestBit, u32::MAX);
    }

    fn spin(&self, round: u32) -> bool {
        let patience = PATIENCE.get();
        if round >= patience || !cpus::are_several() {
            PATIENCE.set((patience * 3 / 4).max(*SPINS.start()));
            return false;
        }
        if round == 0 {
            PATIENCE.set((patience + 1).min(*SPINS.end()));
        }
        hint::spin_loop();
        true
    }

    fn spin_patiently(&self, round: u32) -> bool {
        hint::spin_loop();
        round < *SPINS.end() && cpus::are_several()
    }

    fn back_off(&self, has_given_way: bool) -> bool {
        let begun = Instant::now();
        let fights = has_given_way || CONTENDED.get().is_some_and(|last| begun - last < FIGHT);
        if fights && cpus::are_several() {
            while begun.elapsed() < TRUCE {
                hint::spin_loop();
            }
        }
        fights
    }

    fn has_contended(&self) {
        CONTENDED.set(Some(Instant::now()));
    }
}

fn low_half(state: &AtomicU64) -> &AtomicU32 {
    const { assert!(cfg!(target_endian = "little"), "the low half of a word comes first") };
    // SAFETY: the first four bytes of eight that live as long; they are used as an address here, and by the kernel.
    unsafe { AtomicU32::from_ptr(state.as_ptr().cast()) }
}
