//! A lock of the file system.
//!
//! # Safety
//! The descriptor is open for as long as the file that owns it.
#![allow(unsafe_code)]

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd},
    sync::OnceLock,
};

use proc_core::{handover::Fd, shm::SharedMemory};
use serde::{Deserialize, Serialize};

use crate::limits::Bare;

/// `flock(2)` on a file without a name.
#[derive(Debug, Serialize, Deserialize)]
pub struct Flock {
    file: Fd,
    /// The lock is of an open file, not of a process: each holder opens it for itself.
    #[serde(skip)]
    own: OnceLock<File>,
}

impl Flock {
    /// Makes one.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn new() -> std::io::Result<Self> {
        let memory = SharedMemory::new(4096)?;
        Ok(Self { file: Fd(memory.as_fd().try_clone_to_owned()?), own: OnceLock::new() })
    }
}

impl Clone for Flock {
    fn clone(&self) -> Self {
        Self { file: Fd(self.file.0.try_clone().expect("there are descriptors left")), own: OnceLock::new() }
    }
}

impl Bare for Flock {
    fn pass(&self) {
        let path = || format!("/proc/self/fd/{}", self.file.0.as_raw_fd());
        let own = self.own.get_or_init(|| File::open(path()).expect("whoever has it may open it"));
        // SAFETY: takes a descriptor and a number.
        while unsafe { libc::flock(own.as_raw_fd(), libc::LOCK_EX) } != 0 {}
        // SAFETY: as above.
        unsafe { libc::flock(own.as_raw_fd(), libc::LOCK_UN) };
    }
}
