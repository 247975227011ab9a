//! An address in a process that is being traced, before which it stops; until then it runs as fast as it can.

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

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn set(_: Pid, address: Option<u64>) -> Result<(), Errno> {
    if address.is_some() { Err(Errno::ENOTSUP) } else { Ok(()) }
}
