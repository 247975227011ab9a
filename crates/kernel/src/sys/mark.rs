//! A cheap check whether the rights of the calling process are what they were.
//!
//! # Safety
//! System calls with integers, and arrays of ours that outlive the call; a byte of the C library that is there for good.
#![allow(unsafe_code)]

use std::{
    ffi::c_char,
    os::fd::{AsFd, OwnedFd},
    sync::{
        OnceLock,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
};

use nix::{
    fcntl::{OFlag, open},
    sys::stat::Mode,
};

use super::{credentials, fds::above_standard_streams};

/// Users, groups, capabilities but for the bounding and ambient ones, and `no_new_privs`. Only for a process without filters
/// of system calls: that there are some is all that can be asked so cheaply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    ids: [u32; 6],
    groups: [u32; MOST_GROUPS],
    n_groups: i32,
    capabilities: [u32; 6],
    no_new_privs: i32,
}

const MOST_GROUPS: usize = 32;

impl Mark {
    /// `None` if it would not tell everything.
    pub fn now() -> Option<Self> {
        // SAFETY: takes integers.
        if unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) } != 0 {
            return None;
        }
        let mut mark = Self {
            ids: [0; 6],
            groups: [0; MOST_GROUPS],
            n_groups: 0,
            capabilities: credentials::capabilities()?,
            // SAFETY: takes integers.
            no_new_privs: unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) },
        };
        let [ruid, euid, suid, rgid, egid, sgid] = &mut mark.ids;
        // SAFETY: room for three numbers.
        unsafe { libc::getresuid(ruid, euid, suid) };
        // SAFETY: room for three numbers.
        unsafe { libc::getresgid(rgid, egid, sgid) };
        // SAFETY: room for so many numbers.
        mark.n_groups = unsafe { libc::getgroups(MOST_GROUPS as i32, mark.groups.as_mut_ptr()) };
        (mark.n_groups >= 0).then_some(mark)
    }
}

/// Whether the calling process has one thread; false if that is not known. glibc since 2.32 tells.
pub fn is_single_threaded() -> bool {
    static TOLD: OnceLock<Option<&'static AtomicU8>> = OnceLock::new();
    let told = TOLD.get_or_init(|| {
        // SAFETY: a C string that outlives the call.
        let told = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__libc_single_threaded".as_ptr()) };
        // SAFETY: null, or a byte that is there as long as the program, and written to by the C library.
        (!told.is_null()).then(|| unsafe { AtomicU8::from_ptr(told.cast::<c_char>().cast()) })
    });
    // Relaxed: while there is one thread, no other one writes it.
    told.is_some_and(|told| told.load(Relaxed) != 0)
}

/// The umask of a process with one thread. For a moment it is another one, which no other thread must use.
pub fn umask() -> u32 {
    let umask = nix::sys::stat::umask(Mode::S_IRWXG | Mode::S_IRWXO);
    nix::sys::stat::umask(umask);
    umask.bits()
}

/// The links in `/proc/self/ns` that name the user namespace, the pid namespace of children, and the network.
#[derive(Debug)]
pub struct Links([OwnedFd; 3]);

impl Links {
    /// Opens the links. `ENOENT` without a `/proc`.
    pub fn open() -> nix::Result<Self> {
        let link = |path| {
            let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            above_standard_streams(open(path, flags, Mode::empty())?)
        };
        let [users, pids, network] =
            [c"/proc/self/ns/user", c"/proc/self/ns/pid_for_children", c"/proc/self/ns/net"].map(link);
        Ok(Self([users?, pids?, network?]))
    }

    /// Which they are now.
    pub fn read(&self) -> [Option<u64>; 3] {
        self.0.each_ref().map(|link| super::attributes::namespace(link.as_fd(), c""))
    }
}
