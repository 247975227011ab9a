//! The locks of the kernel and the C library, in shared memory.
//!
//! # Safety
//! Each lives in shared memory of its own, is initialised once before anybody knows it, and never moves.
#![allow(unsafe_code)]

use std::{
    io,
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use kernel::futex;
use proc_core::shm::{Shared, SharedMemory};
use serde::{Deserialize, Serialize};

/// Something that lets one in at a time.
pub trait Bare {
    /// Enters, counts, and leaves.
    fn pass(&self);
}

/// A futex word: free, held, or held and waited for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FutexMutex {
    word: Shared<AtomicU32>,
    count: Shared<AtomicU64>,
}

impl FutexMutex {
    /// Makes a free one.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn new() -> io::Result<Self> {
        Ok(Self { word: Shared::new(AtomicU32::new(0))?, count: Shared::new(AtomicU64::new(0))? })
    }

    #[cold]
    fn lock_slowly(&self) {
        for _ in 0..100 {
            if self.word.load(Relaxed) == 0 && self.word.compare_exchange(0, 1, Acquire, Relaxed).is_ok() {
                return;
            }
            std::hint::spin_loop();
        }
        while self.word.swap(2, Acquire) != 0 {
            futex::wait(&self.word, 2, None);
        }
    }
}

impl Bare for FutexMutex {
    #[inline]
    fn pass(&self) {
        if self.word.compare_exchange(0, 1, Acquire, Relaxed).is_err() {
            self.lock_slowly();
        }
        count(&self.count);
        if self.word.swap(0, Release) == 2 {
            futex::wake(&self.word, 1);
        }
    }
}

#[inline]
fn count(count: &AtomicU64) {
    count.store(count.load(Relaxed) + 1, Relaxed);
}

/// `pthread_mutex_t`, shared between processes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pthread(SharedMemory);

impl Pthread {
    /// Makes a free one that is robust or not.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn new(is_robust: bool) -> io::Result<Self> {
        let memory = SharedMemory::new(4096)?;
        let mut attributes = std::mem::MaybeUninit::uninit();
        // SAFETY: initialises the attributes.
        let mut code = unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) };
        // SAFETY: they are initialised.
        code |= unsafe { libc::pthread_mutexattr_setpshared(attributes.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED) };
        if is_robust {
            // SAFETY: they are initialised.
            code |= unsafe { libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST) };
        }
        // SAFETY: the memory is large enough, aligned and nobody else's yet.
        code |= unsafe { libc::pthread_mutex_init(memory.as_ptr().as_ptr().cast(), attributes.as_ptr()) };
        if code == 0 { Ok(Self(memory)) } else { Err(io::Error::from_raw_os_error(code)) }
    }
}

impl Bare for Pthread {
    #[inline]
    fn pass(&self) {
        let mutex = self.0.as_ptr().as_ptr().cast::<libc::pthread_mutex_t>();
        // SAFETY: initialised at its making.
        let locked = unsafe { libc::pthread_mutex_lock(mutex) };
        assert_eq!(locked, 0);
        counted_in(&self.0);
        // SAFETY: this thread holds it.
        unsafe { libc::pthread_mutex_unlock(mutex) };
    }
}

#[inline]
fn counted_in(memory: &SharedMemory) {
    // SAFETY: the second half of a page that holds nothing else.
    let place = unsafe { memory.as_ptr().add(2048) }.cast::<AtomicU64>();
    // SAFETY: an atomic is valid whatever others write there.
    count(unsafe { place.as_ref() });
}

/// `sem_t` with one permit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PosixSemaphore(SharedMemory);

impl PosixSemaphore {
    /// Makes one.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn new() -> io::Result<Self> {
        let memory = SharedMemory::new(4096)?;
        // SAFETY: the memory is large enough, aligned and nobody else's yet.
        match unsafe { libc::sem_init(memory.as_ptr().as_ptr().cast(), 1, 1) } {
            0 => Ok(Self(memory)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Takes a permit; waits for one.
    #[inline]
    pub fn wait(&self) {
        // SAFETY: initialised at its making.
        while unsafe { libc::sem_wait(self.0.as_ptr().as_ptr().cast()) } != 0 {}
    }

    /// Adds a permit.
    #[inline]
    pub fn post(&self) {
        // SAFETY: initialised at its making.
        unsafe { libc::sem_post(self.0.as_ptr().as_ptr().cast()) };
    }
}

impl Bare for PosixSemaphore {
    #[inline]
    fn pass(&self) {
        self.wait();
        counted_in(&self.0);
        self.post();
    }
}
