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
/// A directory: device, inode, and the mount that it is seen through, which is another one in another mount namespace.
pub type Place = [u64; 3];

/// The root directory.
pub fn root() -> Option<Place> {
    place_of(c"/", 0)
}

/// The working directory, also where the calling process may not look for anything.
pub fn working_dir() -> Option<Place> {
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

/// Tells a namespace from others, by its link in `/proc`, which is `path` below `dir`; `None` if that cannot be read.
pub fn namespace(dir: BorrowedFd<'_>, path: &CStr) -> Option<u64> {
    let mut target = [0_u8; 64];
    // SAFETY: a path, and room for so many bytes.
    let len = unsafe { libc::readlinkat(dir.as_raw_fd(), path.as_ptr(), target.as_mut_ptr().cast(), target.len()) };
    // user:[4026531837]
    let digits = target[..usize::try_from(len).ok()?].iter().filter(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// Names the calling thread: up to 15 bytes, up to a NUL.
#[inline]
pub fn set_name(name: &str) {
    let mut bytes = [0_u8; 16];
    bytes.iter_mut().take(15).zip(name.bytes()).for_each(|(to, from)| *to = from);
    // SAFETY: a text that ends with a NUL.
    unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_NAME, bytes.as_ptr(), 0, 0, 0) };
}

/// The nice value of the calling thread.
pub fn nice() -> i32 {
    // SAFETY: takes integers.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// Sets the nice value of the calling thread.
pub fn set_nice(nice: i32) -> nix::Result<()> {
    // SAFETY: takes integers.
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) }).map(drop)
}

/// A bit for each of 1,024 CPUs.
pub type CpuMask = [u64; 16];

/// The CPUs that the calling thread may run on; `None` if there are more than fit.
pub fn cpus() -> Option<CpuMask> {
    let mut mask = CpuMask::default();
    let len = size_of_val(&mask);
    // SAFETY: room for so many bytes.
    let rc = unsafe { libc::sched_getaffinity(0, len, mask.as_mut_ptr().cast()) };
    (rc == 0).then_some(mask)
}

/// Sets the CPUs that the calling thread may run on.
pub fn set_cpus(mask: &CpuMask) -> nix::Result<()> {
    let len = size_of_val(mask);
    // SAFETY: so many bytes.
    Errno::result(unsafe { libc::sched_setaffinity(0, len, mask.as_ptr().cast()) }).map(drop)
}

/// Soft and hard.
pub type Limit = (u64, u64);

/// Those that matter to programs in general; of the others, the kernel does not look at two, and five are about signals,
/// message queues and scheduling.
const LIMITED: [u32; N_LIMITS] = [
    libc::RLIMIT_AS,
    libc::RLIMIT_CORE,
    libc::RLIMIT_CPU,
    libc::RLIMIT_DATA,
    libc::RLIMIT_FSIZE,
    libc::RLIMIT_MEMLOCK,
    libc::RLIMIT_NOFILE,
    libc::RLIMIT_NPROC,
    libc::RLIMIT_STACK,
];
/// How many limits these are.
pub const N_LIMITS: usize = 9;

/// These limits of the calling process.
pub fn limits() -> [Limit; N_LIMITS] {
    LIMITED.map(|resource| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: room for the answer.
        unsafe { libc::getrlimit(resource, &raw mut limit) };
        (limit.rlim_cur, limit.rlim_max)
    })
}

/// Sets one of them.
pub fn set_limit(at: u8, (soft, hard): Limit) -> nix::Result<()> {
    let resource = *LIMITED.get(usize::from(at)).ok_or(Errno::EINVAL)?;
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: outlives the call.
    Errno::result(unsafe { libc::setrlimit(resource, &raw const limit) }).map(drop)
}
