//! Makes the threads of other CPUs pass a full fence, so that they need none of their own (`membarrier(2)`).
//!
//! # Safety
//! One system call that takes integers, and touches no memory of ours.
#![allow(unsafe_code)]

/// Registers the calling process for [`in_all_processes`]; false if the kernel does not have it.
pub fn register_among_processes() -> bool {
    call(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED)
}

/// Makes each thread that runs, of each registered process, pass a fence; false if the kernel does not have it.
pub fn in_all_processes() -> bool {
    call(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED)
}

/// Registers the calling process for [`in_this_process`]; false if the kernel does not have it.
pub fn register_this_process() -> bool {
    call(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
}

/// Makes each thread of the calling process that runs pass a fence; false if the process is not registered.
pub fn in_this_process() -> bool {
    call(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED)
}

fn call(command: i32) -> bool {
    // SAFETY: takes three integers.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}
