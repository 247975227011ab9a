//! Running this very program again, in a new process, without copying the memory of this one.
//!
//! # Safety
//! Between the clone and the exec the child runs on our memory while the calling thread is suspended: `child` below
//! makes system calls only, on a stack of its own, with all signals blocked.
#![allow(unsafe_code)]

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    ptr,
};

use nix::errno::Errno;

use super::{credentials, death_signal, fds, signals};

struct Plan {
    path: *const libc::c_char,
    argv: *const *const libc::c_char,
    envp: *const *const libc::c_char,
    inherited: i32,
    link: i32,
    keeps_capabilities: bool,
    errno: i32,
}

/// This program's arguments. If it was run by the dynamic loader (`ld.so program`), the loader is `/proc/self/exe`, and the
/// arguments before this program's name are the loader's: they are among these, too.
fn arguments() -> Vec<CString> {
    let args: Vec<Vec<u8>> = std::env::args_os().map(OsStringExt::into_vec).collect();
    let all = std::fs::read("/proc/self/cmdline").unwrap_or_default();
    let mut all: Vec<Vec<u8>> = all.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    // Each is ended by a zero byte.
    all.pop();
    let args = if all.len() > args.len() && all.ends_with(&args) { all } else { args };
    args.into_iter().filter_map(|arg| CString::new(arg).ok()).collect()
}

/// Starts `/proc/self/exe` with this process's arguments and environment, plus `(name, value)`. Of the descriptors that
/// are to be closed on exec it keeps `inherited` and `link` open, under the same numbers.
/// The new process dies with the writers of `link` from the start: it is armed before there is a new program that could be
/// stopped.
///
/// All signals are blocked in the new program until it says otherwise.
pub fn this_program(
    inherited: BorrowedFd<'_>,
    link: BorrowedFd<'_>,
    (name, value): (&str, &str),
) -> io::Result<(i32, OwnedFd)> {
    let args = arguments();
    let mut vars: Vec<CString> = std::env::vars_os()
        .filter(|(key, _)| key != name)
        .filter_map(|(key, value)| CString::new([key.into_vec(), value.into_vec()].join(&b'=')).ok())
        .collect();
    vars.push(CString::new(format!("{name}={value}"))?);
    let pointers = |list: &[CString]| list.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect::<Vec<_>>();
    let (argv, envp) = (pointers(&args), pointers(&vars));
    let mut plan = Plan {
        path: c"/proc/self/exe".as_ptr(),
        argv: argv.as_ptr(),
        envp: envp.as_ptr(),
        inherited: inherited.as_raw_fd(),
        link: link.as_raw_fd(),
        keeps_capabilities: !nix::unistd::geteuid().is_root(),
        errno: 0,
    };

    const STACK_BYTES: usize = 64 * 1024;
    let mut stack = Vec::<u128>::with_capacity(STACK_BYTES / size_of::<u128>());
    // SAFETY: one past the end of the allocation; u128 gives the alignment that stacks want.
    let top = unsafe { stack.as_mut_ptr().add(stack.capacity()) };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let mut pidfd: i32 = -1;
    // Holds a place above the standard streams: what cannot get there must be found out before there is a process.
    let place = fds::duplicate(inherited)?;
    let blocked = signals::block_all();
    // SAFETY: `child` gets a stack and a plan that outlive it: CLONE_VFORK suspends us until it has called exec or exit.
    let pid = unsafe { libc::clone(child, top.cast(), flags, (&raw mut plan).cast(), &raw mut pidfd) };
    drop(blocked);
    let pid = Errno::result(pid)?;
    // SAFETY: the kernel just made this descriptor for us.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    drop(place);
    // SAFETY: written by `child`, which is done with our memory; the compiler cannot know that it changed.
    match unsafe { ptr::read_volatile(&raw const plan.errno) } {
        0 => Ok((pid, fds::above_standard_streams(pidfd)?)),
        errno => {
            super::reap::blocking(&pidfd)?;
            Err(io::Error::from_raw_os_error(errno))
        }
    }
}

extern "C" fn child(plan: *mut libc::c_void) -> i32 {
    let plan: *mut Plan = plan.cast();
    // SAFETY: the plan outlives us, and its owner is suspended.
    let plan = unsafe { &mut *plan };
    if plan.keeps_capabilities {
        credentials::keep_over_exec();
    }
    // SAFETY: clears close-on-exec in this process's own descriptor table.
    let mut cleared = unsafe { libc::fcntl(plan.inherited, libc::F_SETFD, 0) };
    // SAFETY: as above.
    cleared |= unsafe { libc::fcntl(plan.link, libc::F_SETFD, 0) };
    // SAFETY: open in the owner, whose descriptors this process has.
    let is_tied = death_signal::arm(unsafe { BorrowedFd::borrow_raw(plan.link) }).is_ok();
    if cleared == 0 && is_tied {
        // SAFETY: null-terminated arrays of C strings that outlive the call.
        unsafe { libc::execve(plan.path, plan.argv, plan.envp) };
    }
    plan.errno = Errno::last_raw();
    // SAFETY: ends this process without running anything of the owner's.
    unsafe { libc::_exit(127) }
}
