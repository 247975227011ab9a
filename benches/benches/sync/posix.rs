//! The C library's locks in shared memory, as bare as they come, and forked children.
//!
//! # Safety
//! Each object is initialised once, in memory that is never unmapped, and used as its manual page says.
#![allow(unsafe_code)]

use std::ptr::NonNull;

fn shared<T>() -> NonNull<T> {
    const LEN: usize = 4096;
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a fresh mapping at an address of the kernel's choice.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), LEN, access, flags, -1, 0) };
    assert!(size_of::<T>() <= LEN && at != libc::MAP_FAILED);
    NonNull::new(at.cast()).expect("a mapping is not at 0")
}

#[derive(Debug)]
pub(crate) struct Mutex(NonNull<libc::pthread_mutex_t>);

impl Mutex {
    pub(crate) fn new() -> Self {
        Self::with_robustness(libc::PTHREAD_MUTEX_STALLED)
    }

    fn with_robustness(robustness: i32) -> Self {
        let mutex: NonNull<libc::pthread_mutex_t> = shared();
        let mut attributes = std::mem::MaybeUninit::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: writable.
        unsafe { libc::pthread_mutexattr_init(attributes) };
        // SAFETY: initialised above.
        unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) };
        // SAFETY: as above.
        unsafe { libc::pthread_mutexattr_setrobust(attributes, robustness) };
        // SAFETY: both are valid.
        unsafe { libc::pthread_mutex_init(mutex.as_ptr(), attributes) };
        Self(mutex)
    }

    pub(crate) fn with(&self, inside: impl FnOnce()) {
        // SAFETY: initialised in `new`.
        unsafe { libc::pthread_mutex_lock(self.0.as_ptr()) };
        inside();
        // SAFETY: locked above.
        unsafe { libc::pthread_mutex_unlock(self.0.as_ptr()) };
    }
}

#[derive(Debug)]
pub(crate) struct RobustMutex(Mutex);

impl RobustMutex {
    pub(crate) fn new() -> Self {
        Self(Mutex::with_robustness(libc::PTHREAD_MUTEX_ROBUST))
    }

    pub(crate) fn with(&self, inside: impl FnOnce()) {
        self.0.with(inside);
    }
}

#[derive(Debug)]
pub(crate) struct Semaphore(NonNull<libc::sem_t>);

impl Semaphore {
    pub(crate) fn new(permits: u32) -> Self {
        let semaphore = shared();
        // SAFETY: writable.
        unsafe { libc::sem_init(semaphore.as_ptr(), 1, permits) };
        Self(semaphore)
    }

    pub(crate) fn wait(&self) {
        // SAFETY: initialised in `new`.
        while unsafe { libc::sem_wait(self.0.as_ptr()) } != 0 {}
    }

    pub(crate) fn post(&self) {
        // SAFETY: initialised in `new`.
        unsafe { libc::sem_post(self.0.as_ptr()) };
    }

    pub(crate) fn with(&self, inside: impl FnOnce()) {
        self.wait();
        inside();
        self.post();
    }
}

/// A forked child, killed when dropped.
#[derive(Debug)]
pub(crate) struct Child(nix::unistd::Pid);

pub(crate) fn fork(work: impl FnOnce()) -> Child {
    // SAFETY: the child takes locks, and ends without running anything of its parent's.
    match unsafe { nix::unistd::fork() }.expect("a process can be made") {
        nix::unistd::ForkResult::Parent { child } => Child(child),
        nix::unistd::ForkResult::Child => {
            work();
            // SAFETY: as above.
            unsafe { libc::_exit(0) }
        }
    }
}

impl Child {
    /// Waits for its end.
    pub(crate) fn join(self) {
        nix::sys::wait::waitpid(self.0, None).expect("it has not been reaped");
        std::mem::forget(self);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        nix::sys::signal::kill(self.0, nix::sys::signal::Signal::SIGKILL).expect("it has not been reaped");
        nix::sys::wait::waitpid(self.0, None).expect("it has not been reaped");
    }
}
