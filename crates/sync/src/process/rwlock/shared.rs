//! The gate and the seats, which say who may be in.
//!
//! A writer holds the gate. A reader holds one of the seats, each a lock of its own, so that the kernel gives it up
//! when the reader dies. A reader takes a seat and then looks at the gate; a writer takes the gate and then looks at
//! the seats, so at least one of two sees the other. The reader gives way; the writer waits.
//!
//! A reader that has given way waits for the gate as a writer does, and takes its seat behind it. So the gate's own
//! fairness is that of readers and writers: no thread comes back so fast that others never get in.
//!
//! Orderings: acquisitions, and looks whether a lock is held, are `SeqCst` (`machine/lock.rs`): so of a reader and a writer at
//! least one sees the other. `writing` is `Relaxed`: it changes behind the gate, and it is read by a thread that has passed
//! the gate, or by a reader that has found it open.
//!
//! # Safety
//! See the module above.
#![allow(unsafe_code)]

use std::{
    cell::UnsafeCell,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use kernel::{futex::Deadline, shm::ShmSafe};

use crate::{Plain, machine::Acquired, process::raw::RawLock, sys::robust};

/// Readers that can be in at a time; more wait for one to leave.
const SEATS: usize = 32;

const READING: &str = "this thread is reading and would wait for itself";

#[repr(C)]
pub(in crate::process) struct SharedRwLock<T> {
    pub(in crate::process) gate: RawLock,
    pub(in crate::process) seats: [RawLock; SEATS],
    /// 1 while a writer may be changing the data.
    pub(in crate::process) writing: AtomicU32,
    unused: AtomicU32,
    pub(super) data: UnsafeCell<T>,
}

// SAFETY: see the module; `Plain` data are `Send`, and readers in several threads need `Sync`, which guards ask for.
unsafe impl<T: Plain> Sync for SharedRwLock<T> {}
// SAFETY: `repr(C)`; locks, atomics and `Plain` data, all valid for any bits, without pointers and without `Drop`.
unsafe impl<T: Plain> ShmSafe for SharedRwLock<T> {
    fn is_pinned(&self) -> bool {
        self.gate.is_pinned() || self.seats.is_pinned()
    }

    fn note_other_namespaces(&self) {
        self.gate.note_other_namespaces();
        self.seats.note_other_namespaces();
    }
}

impl<T: Plain> SharedRwLock<T> {
    pub(super) fn new(value: T) -> Self {
        Self {
            gate: RawLock::new(),
            seats: [const { RawLock::new() }; SEATS],
            writing: 0.into(),
            unused: 0.into(),
            data: UnsafeCell::new(value),
        }
    }

    /// Takes a seat for good: while the gate is open, or else behind the gate. `None` once the deadline has passed.
    pub(super) fn take_seat(&self, deadline: Option<Deadline>) -> Option<usize> {
        let seat = self.try_take_seat();
        if seat.is_some() {
            return seat;
        }
        loop {
            // SAFETY: it stays where it is while it is held (see the module).
            let acquired = unsafe { self.gate.acquire(deadline) }?;
            let seat = self.sit_down();
            self.leave_gate(acquired);
            if seat.is_some() {
                return seat;
            }
            if !self.seats[first_seat()].wait_while_held(deadline) {
                return None;
            }
        }
    }

    pub(super) fn try_take_seat(&self) -> Option<usize> {
        let seat = self.sit_down()?;
        if self.gate.is_held() {
            self.seats[seat].release();
            return None;
        }
        Some(seat)
    }

    /// Takes one more seat for a thread that has one; `None` if it has none. As it has, no writer is in, and none is let
    /// in meanwhile.
    pub(super) fn take_another_seat(&self) -> Option<usize> {
        if !self.seats.iter().any(RawLock::is_mine) {
            return None;
        }
        loop {
            if let Some(seat) = self.sit_down() {
                return Some(seat);
            }
            let other = self.seats.iter().find(|seat| !seat.is_mine());
            other.expect("this thread has all seats and would wait for itself").wait_while_held(None);
        }
    }

    /// Takes a seat if there is one.
    pub(super) fn sit_down(&self) -> Option<usize> {
        let first = first_seat();
        (0..SEATS).map(|i| (first + i) % SEATS).find(|seat| {
            let seat = &self.seats[*seat];
            // SAFETY: it stays where it is while it is held (see the module).
            let acquired = unsafe { seat.try_acquire() };
            if acquired == Some(Acquired::Inconsistent) {
                // The one before died on it; that is of no importance.
                seat.lock().mark_consistent();
            }
            acquired.is_some()
        })
    }

    /// Acquires the gate, and waits until all seats are empty; `None` once the deadline has passed.
    pub(super) fn pass_gate(&self, deadline: Option<Deadline>) -> Option<Acquired> {
        // SAFETY: it stays where it is while it is held (see the module).
        let acquired = if unsafe { self.gate.try_acquire_idle() }.is_some() {
            Acquired::Orderly
        } else {
            assert!(deadline.is_some() || !self.seats.iter().any(RawLock::is_mine), "{READING}");
            // SAFETY: as above.
            unsafe { self.gate.acquire(deadline) }?
        };
        for seat in self.seats.iter().filter(|seat| seat.is_held()) {
            let is_mine = deadline.is_none() && seat.is_mine();
            if is_mine || !seat.wait_while_held(deadline) {
                self.leave_gate(acquired);
                assert!(!is_mine, "{READING}");
                return None;
            }
        }
        Some(acquired)
    }

    pub(super) fn try_pass_gate(&self) -> Option<Acquired> {
        // SAFETY: it stays where it is while it is held (see the module).
        let acquired = unsafe { self.gate.try_acquire() }?;
        if self.seats.iter().any(RawLock::is_held) {
            self.leave_gate(acquired);
            return None;
        }
        Some(acquired)
    }

    /// Gives up the gate, behind which nothing was changed.
    fn leave_gate(&self, acquired: Acquired) {
        if acquired == Acquired::Inconsistent && self.writing.load(Relaxed) == 0 {
            self.gate.lock().mark_consistent();
        }
        self.gate.release();
    }
}

/// Where to look first: neighbours in time have different ones, so that they do not fight for one cache line.
#[inline]
pub(super) fn first_seat() -> usize {
    robust::tid() as usize % SEATS
}
