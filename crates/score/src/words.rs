//! Words that a driver and its subject share, also one in Python, which maps the file.
//!
//! # Safety
//! All accesses are to whole words inside the memory, as atomics.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::{Duration, Instant},
};

use proc_core::{handover, shm::SharedMemory};
use serde::{Deserialize, Serialize};

const LEN: usize = 4096;

/// How many orders the driver has given, and what the last is about.
const ORDERS: usize = 0;
const ARGUMENT: usize = 1;
/// How many of them the subject has carried out; the first is its own start.
const DONE: usize = 2;
/// What came of an order: up to four numbers.
pub(crate) const RESULT: usize = 4;
/// Which worker is inside, counted from 1; or the pid of whoever runs a task.
pub(crate) const INSIDE: usize = 8;
/// Of each worker: its pid, and how often it has done its work.
pub(crate) const PIDS: usize = 16;
pub(crate) const COUNTS: usize = 32;

/// How often who waits for an order or an answer looks for it.
const LOOK: Duration = Duration::from_micros(100);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Words(SharedMemory);

impl Words {
    pub(crate) fn new() -> io::Result<Self> {
        SharedMemory::new(LEN).map(Self)
    }

    pub(crate) fn at(&self, place: usize) -> &AtomicU64 {
        assert!(place < LEN / size_of::<AtomicU64>());
        // SAFETY: inside the memory, as just checked.
        let word = unsafe { self.0.as_ptr().cast::<AtomicU64>().add(place) };
        // SAFETY: aligned, mapped as long as `self`, and only used as an atomic.
        unsafe { word.as_ref() }
    }

    pub(crate) fn get(&self, place: usize) -> u64 {
        self.at(place).load(SeqCst)
    }

    pub(crate) fn set(&self, place: usize, value: u64) {
        self.at(place).store(value, SeqCst);
    }

    /// What a process without this library opens, as long as the returned descriptor is open.
    pub(crate) fn path(&self) -> io::Result<(OwnedFd, String)> {
        let parcel = handover::pack(&self.0).map_err(io::Error::other)?;
        let fd = parcel.fds().first().ok_or_else(|| io::Error::other("memory without a file"))?.try_clone_to_owned()?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
        Ok((fd, path))
    }

    /// The driver's: has the subject do what it does in its scenario, with this argument.
    pub(crate) fn order(&self, argument: u64) {
        self.set(ARGUMENT, argument);
        self.at(ORDERS).fetch_add(1, SeqCst);
    }

    /// Whether all orders, and the start, have been carried out within that time.
    pub(crate) fn is_done_within(&self, limit: Duration) -> bool {
        waits(limit, || self.get(DONE) > self.get(ORDERS))
    }

    /// The subject's: what was ordered is done, or its start is.
    pub(crate) fn done(&self) {
        self.at(DONE).fetch_add(1, SeqCst);
    }

    /// The subject's: the next order's argument.
    pub(crate) fn next_order(&self) -> u64 {
        while self.get(ORDERS) < self.get(DONE) {
            std::thread::sleep(LOOK);
        }
        self.get(ARGUMENT)
    }
}

/// Whether it comes true while somebody looks for so long. Time in which the whole machine stalls does not count.
pub(crate) fn waits(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let (mut watched, mut last) = (Duration::ZERO, Instant::now());
    while !is_so() {
        let now = Instant::now();
        watched += (now - last).min(Duration::from_millis(20));
        last = now;
        if watched > limit {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    true
}
