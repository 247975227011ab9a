//! What the state machines of a pipe are built on: atomic words, fences, futexes, locks, and the identity of a thread.
//!
//! The state machines take these from here and from nowhere else. The models (`crates/models`) compile the same source with
//! a module of their own in this one's place, so that loom runs the code that ships.

pub(crate) use std::{
    hint::spin_loop,
    sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, fence},
    thread::sleep,
};

pub(crate) use kernel::futex;
pub(crate) use parking_lot::{Mutex, MutexGuard};

/// How often to look again before a system call.
pub(crate) const SPINS: u32 = 200;

/// The light side of an asymmetric pair of fences: it keeps the compiler from moving a load before a store. The heavy
/// side, which makes the processor keep that order, is [`barrier::heavy`](crate::barrier::heavy) between processes and
/// [`barrier::among_threads`](crate::barrier::among_threads) between threads.
#[inline(always)]
pub(crate) fn light_fence() {
    std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
}

/// Tells threads apart while they live: not 0, and a multiple of [`THREAD_ID_STEP`].
#[inline(always)]
pub(crate) fn thread_id() -> usize {
    thread_local!(static HERE: u64 = const { 0 });
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

/// The alignment of what [`thread_id`] takes the address of.
pub(crate) const THREAD_ID_STEP: usize = align_of::<u64>();
