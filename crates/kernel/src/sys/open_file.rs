//! Openings of a file ("open file descriptions"): a second one of the same file, and one that is kept without a
//! descriptor.
//!
//! # Safety
//! The mapping that keeps an opening is made where nothing was, cannot be accessed, and is unmapped once, by the process
//! that made it.
#![allow(unsafe_code)]

use std::{
    ffi::c_void,
    num::NonZero,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    sys::{
        mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap},
        stat::{FileStat, Mode, fstat},
    },
};

use super::fds::above_standard_streams;

/// Which file it is, among all that exist now, and of which kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
    kind: u32,
}

impl FileId {
    /// The file behind a descriptor.
    pub fn of(fd: BorrowedFd<'_>) -> nix::Result<Self> {
        Ok(Self::from(&fstat(fd)?))
    }
}

impl From<&FileStat> for FileId {
    fn from(stat: &FileStat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino, kind: stat.st_mode & libc::S_IFMT }
    }
}

/// The process opens no files any more.
static IS_GIVEN_UP: AtomicBool = AtomicBool::new(false);

/// Notes that the calling process may open no files any more, and that an attempt may kill it.
pub fn give_up() {
    // Relaxed: the caller is about to confine itself, and asks later, on this thread or on one that it starts.
    IS_GIVEN_UP.store(true, Relaxed);
}

/// Whether the calling process has [given up](give_up) opening files, or one that it was forked from.
pub fn is_given_up() -> bool {
    IS_GIVEN_UP.load(Relaxed)
}

/// Opens the file behind `fd` once more. Needs a `/proc` in which the calling process can see itself.
/// For reading only.
pub fn open_again(fd: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    if is_given_up() {
        return Err(Errno::EPERM);
    }
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    above_standard_streams(open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOCTTY, Mode::empty())?)
}

/// Keeps an opening, with its locks, for as long as this process has its memory: until it is dropped, the process ends
/// or executes a program. Closing descriptors does not end it, and forked children do not inherit it.
#[derive(Debug)]
pub struct Kept(NonNull<c_void>);

// SAFETY: an address that is only ever unmapped.
unsafe impl Send for Kept {}
// SAFETY: as above.
unsafe impl Sync for Kept {}

/// The kernel makes a whole page of it, however long a page is.
const LENGTH: NonZero<usize> = NonZero::<usize>::MIN;

impl Kept {
    /// Keeps the opening behind `fd`.
    pub fn new(fd: BorrowedFd<'_>) -> nix::Result<Self> {
        // SAFETY: a fresh mapping at an address of the kernel's choice touches nothing that exists.
        let kept = Self(unsafe { mmap(None, LENGTH, ProtFlags::PROT_NONE, MapFlags::MAP_SHARED, fd, 0)? });
        // SAFETY: the mapping is ours alone.
        unsafe { madvise(kept.0, LENGTH.get(), MmapAdvise::MADV_DONTFORK)? };
        Ok(kept)
    }

    /// For a forked child, in which nothing is mapped there, or something else.
    pub fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // SAFETY: made by `new`, in this process, and never accessed.
        let unmapped = unsafe { munmap(self.0, LENGTH.get()) };
        debug_assert!(unmapped.is_ok());
    }
}
