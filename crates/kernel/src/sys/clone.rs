//! `clone(CLONE_PARENT)`: a fork whose child is a sibling, a direct child of the caller's own parent.
//!
//! # Safety
//! A raw clone skips what the C library's `fork` does. That is sound here because the calling process has one thread:
//! no lock of the C library can be held by another. Two things that `fork` would have mended are mended by hand: the
//! thread id that the C library caches (the kernel writes it, `CLONE_CHILD_SETTID`) and the robust list's registration.
//! Measured without them: a lock whose holder dies stays locked for ever (see the tests of owner death).
#![allow(unsafe_code)]

use std::{
    os::fd::{FromRawFd, OwnedFd, RawFd},
    ptr,
};

use nix::errno::Errno;

use super::fds::above_standard_streams;

/// What a raw clone needs to know of the C library's view of the only thread.
#[derive(Debug)]
pub struct Cloner {
    tid_address: *mut libc::c_void,
    robust_list: *const libc::c_void,
    robust_list_bytes: libc::size_t,
}

/// Which process this is after the clone.
#[derive(Debug)]
pub enum Cloned {
    /// The process that called.
    Original {
        /// Of the new process.
        pid: i32,
        /// Of the new process.
        pidfd: OwnedFd,
    },
    /// The new process.
    Child,
}

impl Cloner {
    /// Looks up what the C library registered with the kernel.
    ///
    /// `EINVAL` on a kernel without `CONFIG_CHECKPOINT_RESTORE`, which no distribution ships.
    pub fn new() -> nix::Result<Self> {
        let mut cloner = Self { tid_address: ptr::null_mut(), robust_list: ptr::null(), robust_list_bytes: 0 };
        // SAFETY: the kernel writes one pointer through the argument.
        Errno::result(unsafe { libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut cloner.tid_address) })?;
        let (head, bytes) = (&raw mut cloner.robust_list, &raw mut cloner.robust_list_bytes);
        // SAFETY: the kernel writes a pointer and a length through the arguments.
        Errno::result(unsafe { libc::syscall(libc::SYS_get_robust_list, 0, head, bytes) })?;
        Ok(cloner)
    }

    /// Splits the calling process in two.
    #[inline]
    pub fn clone_sibling(&self) -> nix::Result<Cloned> {
        let flags = libc::CLONE_PARENT | libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID | libc::CLONE_PIDFD;
        let mut pidfd: RawFd = -1;
        let no_stack: *const libc::c_void = ptr::null();
        let no_tls: *const libc::c_void = ptr::null();
        // The order of the last two arguments is the kernel's, and differs between architectures.
        #[cfg(target_arch = "x86_64")]
        let (fourth, fifth) = (self.tid_address.cast_const(), no_tls);
        #[cfg(not(target_arch = "x86_64"))]
        let (fourth, fifth) = (no_tls, self.tid_address.cast_const());
        // SAFETY: a fork without new stack or memory; see the module's paragraph for what the C library misses. The kernel
        // writes a descriptor to `pidfd`.
        let pid = unsafe { libc::syscall(libc::SYS_clone, flags, no_stack, &raw mut pidfd, fourth, fifth) };
        match Errno::result(pid)? {
            0 => {
                // SAFETY: the list's head is the C library's own, at the address it has in this copy too.
                unsafe { libc::syscall(libc::SYS_set_robust_list, self.robust_list, self.robust_list_bytes) };
                Ok(Cloned::Child)
            }
            pid => {
                // SAFETY: the kernel just made this descriptor for us.
                let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
                Ok(Cloned::Original { pid: pid as i32, pidfd: above_standard_streams(pidfd)? })
            }
        }
    }
}
