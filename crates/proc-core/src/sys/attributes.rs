//! Attributes that a process hands down to its children: asked for with one cheap system call each, and set.
//!
//! # Safety
//! System calls with integers, C strings, and structures of ours that outlive the call.
#![allow(unsafe_code)]

use std::{
    ffi::CStr,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd},
};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// A directory: device, inode, and the mount that it is seen through, which is another one in another mount namespace.
pub(crate) type Place = [u64; 3];

/// The root directory.
pub(crate) fn root() -> Option<Place> {
    place_of(c"/", 0)
}

/// The working directory, also where the calling process may not look for anything.
pub(crate) fn working_dir() -> Option<Place> {
    place_of(c"", libc::AT_EMPTY_PATH)
}

fn place_of(path: &CStr, flags: i32) -> Option<Place> {
    let mut found = MaybeUninit::<libc::statx>::zeroed();
    let mask = libc::STATX_INO | libc::STATX_MNT_ID;
    // SAFETY: a path, and room for the answer.
    let rc = unsafe { libc::statx(libc::AT_FDCWD, path.as_ptr(), flags, mask, found.as_mut_ptr()) };
    if rc != 0 {
        return None;
    }
    // SAFETY: the kernel has filled it; and all zeros are valid.
    let found = unsafe { found.assume_init() };
    let device = u64::from(found.stx_dev_major) << 32 | u64::from(found.stx_dev_minor);
    Some([device, found.stx_ino, found.stx_mnt_id])
}

/// The network namespace that a socket belongs to; 0 if the kernel (before 5.14) does not tell.
pub(crate) fn network_of(socket: BorrowedFd<'_>) -> u64 {
    let (mut cookie, mut len) = (0_u64, size_of::<u64>() as libc::socklen_t);
    let (level, option) = (libc::SOL_SOCKET, libc::SO_NETNS_COOKIE);
    // SAFETY: room for the answer, and its length.
    unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut cookie).cast(), &raw mut len) };
    cookie
}

/// Tells a namespace from others, by its link in `/proc`; `None` if that cannot be read.
pub(crate) fn namespace(link: &CStr) -> Option<u64> {
    let mut target = [0_u8; 64];
    // SAFETY: a path, and room for so many bytes.
    let len = unsafe { libc::readlink(link.as_ptr(), target.as_mut_ptr().cast(), target.len()) };
    // user:[4026531837]
    let digits = target[..usize::try_from(len).ok()?].iter().filter(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// The nice value of the calling thread.
pub(crate) fn nice() -> i32 {
    // SAFETY: takes integers.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// Sets the nice value of the calling thread.
pub(crate) fn set_nice(nice: i32) -> nix::Result<()> {
    // SAFETY: takes integers.
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) }).map(drop)
}

/// A bit for each of 1,024 CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CpuMask([u64; 16]);

/// The CPUs that the calling thread may run on; `None` if there are more than fit.
pub(crate) fn cpus() -> Option<CpuMask> {
    let mut mask = CpuMask::default();
    let len = size_of_val(&mask.0);
    // SAFETY: room for so many bytes.
    let rc = unsafe { libc::sched_getaffinity(0, len, mask.0.as_mut_ptr().cast()) };
    (rc == 0).then_some(mask)
}

/// Sets the CPUs that the calling thread may run on.
pub(crate) fn set_cpus(mask: &CpuMask) -> nix::Result<()> {
    let len = size_of_val(&mask.0);
    // SAFETY: so many bytes.
    Errno::result(unsafe { libc::sched_setaffinity(0, len, mask.0.as_ptr().cast()) }).map(drop)
}

/// Soft and hard.
pub(crate) type Limit = (u64, u64);

/// How many resources Linux limits.
pub(crate) const N_LIMITS: usize = 16;

/// All limits of the calling process, by their numbers.
pub(crate) fn limits() -> [Limit; N_LIMITS] {
    std::array::from_fn(|at| {
        // Limits that the kernel does not look at any more.
        if at == libc::RLIMIT_RSS as usize || at == libc::RLIMIT_LOCKS as usize {
            return (0, 0);
        }
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: room for the answer.
        unsafe { libc::getrlimit(at as _, &raw mut limit) };
        (limit.rlim_cur, limit.rlim_max)
    })
}

/// Sets one of them.
pub(crate) fn set_limit(at: u8, (soft, hard): Limit) -> nix::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: outlives the call.
    Errno::result(unsafe { libc::setrlimit(at.into(), &raw const limit) }).map(drop)
}
