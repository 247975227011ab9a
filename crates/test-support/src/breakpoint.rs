//! An address in a process that is being traced, before which it stops; until then it runs as fast as it can.
//!
//! # Safety
//! Where the kernel wants the registers as a set, it reads a structure that outlives the call.
#![allow(unsafe_code)]

use nix::{errno::Errno, unistd::Pid};

/// Makes a stopped tracee stop before the instruction at `address`, whenever it comes there; or nowhere, as before.
///
/// # Errors
/// If this machine has no registers for that, or this program does not know them.
#[cfg(target_arch = "x86_64")]
pub(crate) fn set(pid: Pid, address: Option<u64>) -> Result<(), Errno> {
    use std::mem::offset_of;

    use nix::sys::ptrace::write_user;

    /// How far apart the registers are.
    const SIZE: usize = size_of::<u64>();
    /// The first register holds the address of an instruction.
    const FIRST_OF_INSTRUCTION: i64 = 1;

    let registers = offset_of!(libc::user, u_debugreg);
    let control = (registers + 7 * SIZE) as *mut _;
    let Some(address) = address else { return write_user(pid, control, 0) };
    write_user(pid, registers as *mut _, address.cast_signed())?;
    write_user(pid, control, FIRST_OF_INSTRUCTION)
}

/// Makes a stopped tracee stop before the instruction at `address`, whenever it comes there; or nowhere, as before.
///
/// # Errors
/// If this machine has no registers for that.
#[cfg(target_arch = "aarch64")]
pub(crate) fn set(pid: Pid, address: Option<u64>) -> Result<(), Errno> {
    /// The kernel's `user_hwdebug_state`, up to the first register.
    #[repr(C)]
    struct Breakpoints {
        info: u64,
        address: u64,
        control: u64,
    }
    /// Their register set: `NT_ARM_HW_BREAK`.
    const BREAKPOINTS: usize = 0x402;
    /// Enabled, in user mode, for an instruction of four bytes.
    const OF_INSTRUCTION: u64 = 0xf << 5 | 0b10 << 1 | 1;

    let control = if address.is_some() { OF_INSTRUCTION } else { 0 };
    let mut breakpoints = Breakpoints { info: 0, address: address.unwrap_or_default(), control };
    let set = libc::iovec { iov_base: (&raw mut breakpoints).cast(), iov_len: size_of::<Breakpoints>() };
    // SAFETY: the kernel reads `set` and `breakpoints`, which outlive the call.
    let done = unsafe { libc::ptrace(libc::PTRACE_SETREGSET, pid.as_raw(), BREAKPOINTS, &raw const set) };
    Errno::result(done).map(drop)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn set(_: Pid, address: Option<u64>) -> Result<(), Errno> {
    if address.is_some() { Err(Errno::ENOTSUP) } else { Ok(()) }
}
