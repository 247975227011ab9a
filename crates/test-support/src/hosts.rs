//! Hosts on which a process cannot see others. Each change is to the calling process, which has one thread, and needs
//! root.
//!
//! # Safety
//! Forks a process of one thread.
#![allow(unsafe_code)]

use std::{env, fs};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{
        prctl::set_pdeathsig,
        signal::Signal,
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, Gid, Uid, chroot, fork, geteuid, mkdtemp, setgroups, setresgid, setresuid},
};

use crate::sys;

const NOBODY: u32 = 65534;

/// Ways to become blind: what they are called, and what does it.
pub const BLIND: [(&str, fn()); 4] = [
    ("under hidepid", hide_others),
    ("beside an empty /proc", empty_proc),
    ("in an empty root", || {
        empty_root();
        become_nobody();
    }),
    ("in another pid namespace", new_pid_namespace),
];

/// Whether the tests that need root can run; says so if not.
pub fn is_root() -> bool {
    let is_root = geteuid().is_root();
    if !is_root {
        println!("(not root: without other users, namespaces and roots)");
    }
    is_root
}

/// Enters a directory in which there is nothing, as root directory.
///
/// # Panics
/// If that is not allowed.
pub fn empty_root() {
    let dir = mkdtemp(&env::temp_dir().join("empty-XXXXXX")).expect("a directory");
    env::set_current_dir(&dir).expect("it is there");
    fs::remove_dir(&dir).expect("it is empty");
    chroot(".").expect("root may");
    env::set_current_dir("/").expect("it is there");
    assert!(fs::metadata("/proc").is_err());
}

/// Gives up all that root may.
///
/// # Panics
/// If that is not allowed.
pub fn become_nobody() {
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setgroups(&[]).expect("root may");
    setresgid(gid, gid, gid).expect("root may");
    setresuid(uid, uid, uid).expect("root may");
}

/// Mounts an empty file system at `/proc`, for the calling process alone.
///
/// # Panics
/// If that is not allowed.
pub fn empty_proc() {
    mount_at_proc("tmpfs", "");
    assert!(fs::metadata("/proc/self").is_err());
}

/// Becomes a user that sees nobody but itself in `/proc`.
///
/// # Panics
/// If that is not allowed.
pub fn hide_others() {
    hide_processes();
    become_nobody();
    assert!(fs::metadata("/proc/1").is_err() && fs::metadata("/proc/self").is_ok());
}

/// Hides the processes of others in `/proc`, for the calling process and those that it starts. Root still sees them.
///
/// # Panics
/// If that is not allowed.
pub fn hide_processes() {
    mount_at_proc("proc", "hidepid=2");
}

fn mount_at_proc(kind: &str, options: &str) {
    unshare(CloneFlags::CLONE_NEWNS).expect("root may");
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("root may");
    mount(Some(kind), "/proc", Some(kind), MsFlags::empty(), Some(options)).expect("root may");
}

/// Goes on in a child that is process 1 of a pid namespace, with the `/proc` of the former one.
///
/// # Panics
/// If that is not allowed.
pub fn new_pid_namespace() {
    unshare(CloneFlags::CLONE_NEWPID).expect("root may");
    go_on_in_a_child();
    assert_eq!(std::process::id(), 1);
}

/// Goes on in a child, for what comes into force there only. The calling process waits for it and ends as it does; when it
/// is killed, so is the child.
///
/// # Panics
/// If there is no room for one more.
pub fn go_on_in_a_child() {
    // SAFETY: the caller has one thread.
    match unsafe { fork() }.expect("there is room for one more") {
        ForkResult::Child => {
            set_pdeathsig(Signal::SIGKILL).expect("a process may choose its signal");
        }
        ForkResult::Parent { child } => {
            let status = waitpid(child, None);
            sys::exit_now(if let Ok(WaitStatus::Exited(_, status)) = status { status } else { 101 });
        }
    }
}
