//! A program's process opens itself before it executes the program, and sends its descriptor to us.
//!
//! So the descriptor is right even where the kernel, or another part of the program, reaps our children: by the time that we
//! could open it by its pid, that may be another process's.
//!
//! # Safety
//! What runs between fork and exec makes system calls only: another thread may have held the allocator's lock.
#![allow(unsafe_code)]

use std::{
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::Command,
};

use kernel::sys::{pidfd, seqpacket};

/// Where the process's descriptor comes.
#[derive(Debug)]
pub(super) struct Introduction(OwnedFd);

impl Introduction {
    /// Makes the process introduce itself. It is executed all the same if it cannot.
    pub(super) fn ask(command: &mut Command) -> nix::Result<Self> {
        let (ours, theirs) = seqpacket::pair()?;
        let introduce = move || {
            if let Ok(myself) = pidfd::open(std::process::id()) {
                let _ = seqpacket::send_bytes(theirs.as_fd(), &[0], &[myself.as_raw_fd()]);
            }
            Ok(())
        };
        // SAFETY: system calls only, and nothing is allocated.
        unsafe { command.pre_exec(introduce) };
        Ok(Self(ours))
    }

    /// The descriptor, once the program runs.
    pub(super) fn hear(self) -> Option<OwnedFd> {
        seqpacket::receive_small(self.0.as_fd(), &mut [0], false).ok()?.1
    }
}
