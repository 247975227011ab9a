//! The system calls of a process that is being traced: which it is, and one that fails without having been made.
//!
//! # Safety
//! The kernel fills the parts of `ptrace_syscall_info` that its `op` names. Where it wants a register as a set, it reads a
//! value that outlives the call.
#![allow(unsafe_code)]

use nix::{errno::Errno, sys::ptrace, unistd::Pid};

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

/// At the entry of a call: has the kernel make none.
#[cfg(target_arch = "aarch64")]
pub(crate) fn skip(pid: Pid) {
    /// The register set that is the number of the call: `NT_ARM_SYSTEM_CALL`. It is in no register after the entry.
    const NUMBER: usize = 0x404;

    let mut none = -1i32;
    let set = libc::iovec { iov_base: (&raw mut none).cast(), iov_len: size_of_val(&none) };
    // If it is gone meanwhile, the next wait tells.
    // SAFETY: the kernel reads `set` and `none`, which outlive the call.
    unsafe { libc::ptrace(libc::PTRACE_SETREGSET, pid.as_raw(), NUMBER, &raw const set) };
}

/// At the exit of a call: has it return `error`.
pub(crate) fn answer(pid: Pid, error: Errno) {
    let result = i64::from(-(error as i32)).cast_unsigned();
    change(pid, |regs| {
        #[cfg(target_arch = "x86_64")]
        {
            regs.rax = result;
        }
        #[cfg(target_arch = "aarch64")]
        {
            regs.regs[0] = result;
        }
    });
}

fn change(pid: Pid, how: impl FnOnce(&mut libc::user_regs_struct)) {
    // If it is gone meanwhile, the next wait tells.
    if let Ok(mut regs) = ptrace::getregs(pid) {
        how(&mut regs);
        let _ = ptrace::setregs(pid, regs);
    }
}
