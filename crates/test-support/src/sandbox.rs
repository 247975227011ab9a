//! Filters of system calls.
//!
//! # Safety
//! A filter program that outlives the call that installs it.
#![allow(unsafe_code)]

use std::io;

use nix::sys::prctl::set_no_new_privs;

/// Has these system calls fail with `EPERM` in the calling process, as a sandbox does.
///
/// # Panics
/// If that is not allowed.
pub fn deny(calls: &[i64]) {
    refuse(calls, libc::EPERM);
}

/// As [`deny`], with another error.
///
/// # Panics
/// If that is not allowed.
pub fn refuse(calls: &[i64], errno: i32) {
    install(calls, libc::SECCOMP_RET_ERRNO | errno as u32, libc::SECCOMP_RET_ALLOW);
}

/// Has every other system call end the calling process and its children.
///
/// # Panics
/// If that is not allowed.
pub fn allow_only(calls: &[i64]) {
    install(calls, libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_KILL_PROCESS);
}

/// At most as many as a jump is long.
fn install(calls: &[i64], listed: u32, others: u32) {
    assert!(calls.len() < 256);
    let filter = |code: u32, jt: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf: 0, k };
    let load_number = filter(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0);
    let answer = |action| filter(libc::BPF_RET | libc::BPF_K, 0, action);
    let to_the_end = |(i, call): (usize, &i64)| {
        filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, (calls.len() - i) as u8, *call as u32)
    };
    let mut program = vec![load_number];
    program.extend(calls.iter().enumerate().map(to_the_end));
    program.extend([answer(others), answer(listed)]);
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    set_no_new_privs().expect("everybody may");
    // SAFETY: the program outlives the call, which copies it.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    assert_eq!(set, 0, "{:?}", io::Error::last_os_error());
}
