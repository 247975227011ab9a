//! Shared memory that strangers find by name.

use std::{
    ffi::OsStr,
    io,
    ops::Deref,
    os::{fd::AsRawFd, fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, FallocateFlags, OFlag, fallocate, open},
    sys::stat::{Mode, SFlag, fstat},
    unistd::{geteuid, linkat, unlink},
};

use super::{Mapping, SharedMemory};
use crate::{fds::above_standard_streams, sys::memfd};

const DIRECTORY: &str = "/dev/shm";

/// A block of shared memory with a name, for processes that are no relatives. It is a [`SharedMemory`].
///
/// Prefer the anonymous kind, handed over: a name is the one thing that `kill -9` can leave behind. The file belongs to
/// the user, and no other user can open it. A process that can open it may also truncate it; then access to it is a
/// SIGBUS. So root does not open another user's either.
///
/// The block cannot be handed over like an anonymous one, since its length is not sealed: pass its name.
///
/// # Crash safety
/// The name appears with the whole block behind it or not at all. It goes when the creator's handle is dropped; if the
/// creator is killed before that, it stays until a process calls [`unlink`](Self::unlink). The memory itself lives as long
/// as any process has it.
///
/// # Examples
/// ```
/// # use kernel as proc_core;
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
/// use proc_core::shm::{Shared, SharedMemory};
///
/// let name = format!("example-{}", std::process::id());
/// let here = SharedMemory::create(&name, 4096)?;
/// // In a process that only knows the name:
/// let there = SharedMemory::open(&name)?;
/// assert_eq!(there.len(), 4096);
/// drop(here);
/// assert!(SharedMemory::open(&name).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct NamedMemory {
    memory: SharedMemory,
    name: String,
    /// The process that unlinks the name; none if it was opened, or is to stay.
    owner: Option<u32>,
}

impl SharedMemory {
    /// Makes a block of `len` bytes, all zero and reserved, that others [`open`](Self::open) by `name`: 1 to 255 bytes,
    /// without a slash.
    ///
    /// # Errors
    /// `EEXIST` if the name is taken; `EINVAL` for a bad name or length 0; else as [`new`](Self::new).
    pub fn create(name: &str, len: usize) -> io::Result<NamedMemory> {
        let path = path(name)?;
        let length = i64::try_from(len).map_err(|_| Errno::EFBIG)?;
        memfd::may_reach(len as u64)?;
        let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
        let fd = above_standard_streams(open(DIRECTORY, flags, Mode::S_IRUSR | Mode::S_IWUSR)?)?;
        fallocate(&fd, FallocateFlags::empty(), 0, length)?;
        let memory = map(fd, len)?;
        let unnamed = format!("/proc/self/fd/{}", memory.0.fd.as_raw_fd());
        linkat(AT_FDCWD, unnamed.as_str(), AT_FDCWD, &path, AtFlags::AT_SYMLINK_FOLLOW)?;
        Ok(NamedMemory { memory, name: name.into(), owner: Some(std::process::id()) })
    }

    /// Maps the block that another process has [created](Self::create) under `name`.
    ///
    /// # Errors
    /// `ENOENT` if there is none; `PermissionDenied` if it is another user's, or other users may write it and so cut it
    /// off; `EINVAL` for a bad name, and for what is no memory (a pipe, an empty file); `ELOOP` for a symbolic link.
    pub fn open(name: &str) -> io::Result<NamedMemory> {
        let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let fd = above_standard_streams(open(&path(name)?, flags, Mode::empty())?)?;
        let stat = fstat(&fd)?;
        if stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() {
            return Err(Errno::EINVAL.into());
        }
        let refused = |why: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        if stat.st_uid != geteuid().as_raw() {
            return refused(format!("the memory {name:?} belongs to user {}", stat.st_uid));
        }
        if stat.st_mode & (Mode::S_IWGRP | Mode::S_IWOTH).bits() != 0 {
            return refused(format!("other users may write the memory {name:?}"));
        }
        let len = usize::try_from(stat.st_size).map_err(io::Error::other)?;
        Ok(NamedMemory { memory: map(fd, len)?, name: name.into(), owner: None })
    }
}

impl NamedMemory {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Removes a name, whichever process made it. Processes that have the memory keep it.
    ///
    /// # Errors
    /// `ENOENT` if there is none; `EINVAL` for a bad name.
    pub fn unlink(name: &str) -> io::Result<()> {
        Ok(unlink(&path(name)?)?)
    }

    /// Lets the name stay when this handle is dropped.
    pub fn keep(mut self) -> Self {
        self.owner = None;
        self
    }
}

impl Deref for NamedMemory {
    type Target = SharedMemory;

    fn deref(&self) -> &SharedMemory {
        &self.memory
    }
}

impl Drop for NamedMemory {
    fn drop(&mut self) {
        // Not in a forked child.
        if self.owner == Some(std::process::id()) {
            let _ = Self::unlink(&self.name);
        }
    }
}

fn map(fd: OwnedFd, len: usize) -> io::Result<SharedMemory> {
    Ok(SharedMemory(std::sync::Arc::new(Mapping::new(fd, len)?)))
}

fn path(name: &str) -> nix::Result<PathBuf> {
    let is_fine = !matches!(name, "" | "." | "..") && name.len() <= 255 && !name.bytes().any(|b| matches!(b, b'/' | 0));
    if is_fine { Ok(Path::new(DIRECTORY).join(OsStr::from_bytes(name.as_bytes()))) } else { Err(Errno::EINVAL) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

    use super::*;

    fn name(what: &str) -> String {
        format!("proc-core-test-{}-{what}", std::process::id())
    }

    #[test]
    fn a_name_leads_to_the_same_memory_until_its_creator_goes() {
        let name = name("same");
        let here = SharedMemory::create(&name, 5000).unwrap();
        let there = SharedMemory::open(&name).unwrap();
        assert_eq!((there.len(), there.name()), (5000, name.as_str()));
        let last = |memory: &SharedMemory| {
            // SAFETY: inside the block.
            let last = unsafe { memory.as_ptr().add(4999) };
            // SAFETY: inside the block, which lives to the end of the test.
            unsafe { last.cast::<AtomicU8>().as_ref() }
        };
        last(&here).store(7, Relaxed);
        assert_eq!(last(&there).load(Relaxed), 7);
        assert_eq!(SharedMemory::create(&name, 1).unwrap_err().raw_os_error(), Some(libc::EEXIST));
        drop(here);
        assert_eq!(SharedMemory::open(&name).unwrap_err().raw_os_error(), Some(libc::ENOENT));
    }

    #[test]
    fn a_kept_name_goes_when_it_is_unlinked() {
        let name = name("kept");
        drop(SharedMemory::create(&name, 1).unwrap().keep());
        drop(SharedMemory::open(&name).unwrap());
        NamedMemory::unlink(&name).unwrap();
        assert!(NamedMemory::unlink(&name).is_err());
    }

    /// Something of that name in the directory, and whether it can be opened as memory.
    fn opened(what: &str, make: impl FnOnce(&Path)) -> io::Error {
        let name = name(what);
        make(&Path::new(DIRECTORY).join(&name));
        let opened = SharedMemory::open(&name);
        NamedMemory::unlink(&name).unwrap();
        opened.unwrap_err()
    }

    #[test]
    fn what_others_may_cut_off_is_refused() {
        use std::{fs, io::ErrorKind, os::unix::fs::PermissionsExt};
        let writable = opened("writable", |path| {
            fs::write(path, [1; 4096]).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o620)).unwrap();
        });
        assert_eq!(writable.kind(), ErrorKind::PermissionDenied);
        assert!(writable.to_string().contains("may write"), "{writable}");
        if !geteuid().is_root() {
            println!("(not root: without another user's memory)");
            return;
        }
        let strangers = opened("stranger", |path| {
            fs::write(path, [1; 4096]).unwrap();
            std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
        });
        assert_eq!(strangers.kind(), ErrorKind::PermissionDenied);
        assert!(strangers.to_string().contains("belongs to user 65534"), "{strangers}");
    }

    #[test]
    fn what_is_no_memory_is_refused() {
        let pipe = opened("pipe", |path| nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap());
        assert_eq!(pipe.raw_os_error(), Some(libc::EINVAL));
        let link = opened("link", |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap());
        assert_eq!(link.raw_os_error(), Some(libc::ELOOP));
        let empty = opened("empty-file", |path| std::fs::write(path, "").unwrap());
        assert_eq!(empty.raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn bad_names_are_refused() {
        for name in ["", ".", "..", "a/b", "/a", "nul\0", &"x".repeat(256)] {
            assert_eq!(SharedMemory::create(name, 1).unwrap_err().raw_os_error(), Some(libc::EINVAL), "{name:?}");
        }
        assert!(SharedMemory::create(&self::name("empty"), 0).is_err());
    }
}
