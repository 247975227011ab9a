//! The system calls of a process that is being traced: which it is, and one that fails without having been made.
//!
//! # Safety
//! The kernel fills the parts of `ptrace_syscall_info` that its `op` names.
#![allow(unsafe_code)]

use nix::{errno::Errno, sys::ptrace, unistd::Pid};

/// Whether a victim's calls can be made to fail on this machine.
pub const CAN_FAIL: bool = cfg!(target_arch = "x86_64");

/// A system call that is about to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// As in `libc::SYS_…`.
    pub number: i64,
    /// Its arguments, as far as it has so many.
    pub args: [u64; 6],
}

impl Call {
    pub(crate) fn at_entry(pid: Pid) -> Option<Self> {
        let info = ptrace::syscall_info(pid).ok()?;
        if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
            return None;
        }
        // SAFETY: at an entry this is the part that is filled.
        let entry = unsafe { info.u.entry };
        Some(Self { number: entry.nr.cast_signed(), args: entry.args })
    }
}

/// At the entry of a call: has the kernel make none.
#[cfg(target_arch = "x86_64")]
pub(crate) fn skip(pid: Pid) {
    change(pid, |regs| regs.orig_rax = u64::MAX);
}

/// At the exit of a call: has it return `error`.
#[cfg(target_arch = "x86_64")]
pub(crate) fn answer(pid: Pid, error: Errno) {
    change(pid, |regs| regs.rax = i64::from(-(error as i32)).cast_unsigned());
}

#[cfg(target_arch = "x86_64")]
fn change(pid: Pid, how: impl FnOnce(&mut libc::user_regs_struct)) {
    // If it is gone meanwhile, the next wait tells.
    if let Ok(mut regs) = ptrace::getregs(pid) {
        how(&mut regs);
        let _ = ptrace::setregs(pid, regs);
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn skip(_: Pid) {
    unreachable!("asked for where calls `CAN_FAIL`");
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn answer(_: Pid, _: Errno) {
    unreachable!("asked for where calls `CAN_FAIL`");
}
