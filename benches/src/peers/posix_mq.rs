//! POSIX message queues.
//!
//! # Safety
//! A queue's descriptor is open for as long as what owns it is.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use nix::{
    errno::Errno,
    mqueue::{MQ_OFlag, MqAttr, mq_open, mq_unlink},
    sys::stat::Mode,
};
use proc_core::handover::Fd;
use serde::{Deserialize, Serialize};

use crate::{
    crew::Lane,
    figures::queue::{number_in, with_buffer},
};

/// What a process without privileges may have.
const CAPACITY: i64 = 10;

/// A queue of messages of so many bytes. Its name is gone once it is made.
#[derive(Debug, Serialize, Deserialize)]
pub struct PosixMq {
    queue: Fd,
    len: usize,
}

impl PosixMq {
    /// Makes one.
    ///
    /// # Errors
    /// If the kernel has none, or the messages are larger than it allows (8 KiB).
    pub fn new(len: usize) -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("/bench-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let flags = MQ_OFlag::O_RDWR | MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL | MQ_OFlag::O_CLOEXEC;
        let attributes = MqAttr::new(0, CAPACITY, len as i64, 0);
        let queue = mq_open(name.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR, Some(&attributes))?;
        mq_unlink(name.as_str())?;
        // SAFETY: Linux's message queues are descriptors, and this one has just been given up.
        let queue = unsafe { OwnedFd::from_raw_fd(queue.into_raw_fd()) };
        Ok(Self { queue: Fd(queue), len })
    }
}

impl Lane for PosixMq {
    fn put(&self, n: u64) {
        with_buffer(self.len, |buffer| {
            buffer[..8].copy_from_slice(&n.to_le_bytes());
            // SAFETY: reads the buffer.
            let sent = unsafe { libc::mq_send(self.queue.0.as_raw_fd(), buffer.as_ptr().cast(), buffer.len(), 0) };
            assert_eq!(sent, 0, "{}", Errno::last());
        });
    }

    fn get(&self) -> u64 {
        with_buffer(self.len, |buffer| {
            let (at, len) = (buffer.as_mut_ptr().cast(), buffer.len());
            // SAFETY: writes to the buffer.
            let got = unsafe { libc::mq_receive(self.queue.0.as_raw_fd(), at, len, std::ptr::null_mut()) };
            assert_eq!(got, len as isize, "{}", Errno::last());
            number_in(buffer)
        })
    }

    fn copy(&self) -> Self {
        Self { queue: Fd(self.queue.0.try_clone().expect("there are descriptors left")), len: self.len }
    }
}
