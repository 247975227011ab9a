//! What the handler shares with the code that prepares it, and with itself on another thread.
//!
//! | word of [`STATE`] | values | which code moves it | ordering |
//! |---|---|---|---|
//! | `process` | 0, then the process that is to report | `arm`, before there is a second thread | `Release`, loaded `Acquire`: the socket is there when it is |
//! | `socket`, `socket_inode` | what `arm` was given | `arm` | `Relaxed`: published by `process` |
//! | `reporter` | 0, then the thread that reports; for good | that thread: one swap | `Acquire`: it sees what `arm` left |
//! | `is_done` | false, then true | the reporter | `Release`, loaded `Acquire` by threads that wait: the report is out |
//! | `flags` | what was found out | the reporter | `Relaxed`: its own |
//! | `n_frames`, and the frames | how many return addresses there are | the reporter; a second signal in its walk reads them on the same thread | `Release` after the frame, loaded `Acquire` |
//!
//! The other words are written before they are needed, on the thread that needs them or before there are others: `Relaxed`.
//!
//! # Safety
//! What is not atomic is in a [`HandlerCell`], and belongs to the thread that has claimed it: the comment beside each says which.
#![allow(unsafe_code)]

use std::{
    cell::UnsafeCell,
    mem::MaybeUninit,
    sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, AtomicUsize},
};

use super::super::{maps::Maps, packet::MAX_FRAMES};

/// What a program does to itself.
pub(super) const SIGNALS: [i32; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT];
/// The walk takes about 7 KiB.
pub(in crate::crash) const STACK_BYTES: usize = 64 * 1024;

/// Memory that belongs to the thread that has claimed it, by the rule beside each use.
pub(super) struct HandlerCell<T>(pub(super) UnsafeCell<T>);

// SAFETY: each use says whose it is.
unsafe impl<T: Send> Sync for HandlerCell<T> {}

/// The main thread's; the kernel alone uses it.
pub(super) static STACK: HandlerCell<[u128; STACK_BYTES / 16]> = HandlerCell(UnsafeCell::new([0; STACK_BYTES / 16]));
/// The actions that were replaced. Written by the call that puts the handler in place; until then they are zeros, which is
/// the default action.
pub(super) static FORMER: [HandlerCell<MaybeUninit<libc::sigaction>>; SIGNALS.len()] =
    [const { HandlerCell(UnsafeCell::new(MaybeUninit::zeroed())) }; SIGNALS.len()];
/// Of the signal for a system call that is refused.
pub(super) static FORMER_REFUSAL: HandlerCell<MaybeUninit<libc::sigaction>> =
    HandlerCell(UnsafeCell::new(MaybeUninit::zeroed()));
/// Of the alarm clock's signal, while a walk is under way.
pub(super) static FORMER_ALARM: HandlerCell<MaybeUninit<libc::sigaction>> =
    HandlerCell(UnsafeCell::new(MaybeUninit::uninit()));

pub(super) static IS_INSTALLED: AtomicBool = AtomicBool::new(false);

/// What each start writes to: together, so that it takes one page fault.
pub(super) struct ReportState {
    /// The process that is to report; a child that it forks by itself is not.
    pub(super) process: AtomicI32,
    /// The socket, and which file that was when its number was noted.
    pub(super) socket: AtomicI32,
    pub(super) socket_inode: AtomicU64,
    /// The thread that reports: 0 until there is one. It stays claimed: one report a process.
    pub(super) reporter: AtomicI32,
    /// It is done.
    pub(super) is_done: AtomicBool,
    /// What it has found out.
    pub(super) flags: AtomicU8,
    pub(super) n_frames: AtomicUsize,
}

pub(super) static STATE: ReportState = ReportState {
    process: AtomicI32::new(0),
    socket: AtomicI32::new(-1),
    socket_inode: AtomicU64::new(0),
    reporter: AtomicI32::new(0),
    is_done: AtomicBool::new(false),
    flags: AtomicU8::new(0),
    n_frames: AtomicUsize::new(0),
};

/// Of a confined process: its mappings, opened before, by number and inode.
pub(super) static MAPS_FILE: AtomicI32 = AtomicI32::new(-1);
pub(super) static MAPS_INODE: AtomicU64 = AtomicU64::new(0);
/// It may open nothing any more.
pub(super) static IS_CONFINED: AtomicBool = AtomicBool::new(false);

/// What the reporter reports on.
pub(super) static FIRST_SIGNAL: AtomicI32 = AtomicI32::new(0);

/// The reporter's.
pub(super) static MAPS: HandlerCell<Maps> = HandlerCell(UnsafeCell::new(Maps::new()));
pub(super) static FRAMES: [AtomicU64; MAX_FRAMES] = [const { AtomicU64::new(0) }; MAX_FRAMES];
