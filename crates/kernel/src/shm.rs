//! Memory that processes share: anonymous, of fixed length, with nothing to clean up after `kill -9`.
//!
//! # Safety
//! A [`SharedMemory`] is never unmapped while a handle exists, and its file is sealed against shrinking, so every
//! address inside it stays valid. (One with a name is not sealed: to truncate it kills its users by SIGBUS.) Other
//! processes write to it at any time: it is only handed out as raw pointers, or as types that are [`ShmSafe`].
#![allow(unsafe_code)]

use std::{
    io,
    num::NonZero,
    ops::Deref,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    ptr::NonNull,
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};
#[cfg(feature = "serde")]
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

#[cfg(feature = "serde")]
use crate::handover;
use crate::{
    identity::PidNamespace,
    sys::{
        memfd::{self, Reserve},
        page,
    },
};

#[cfg(feature = "inspect")]
#[doc(hidden)]
pub mod inspect;
mod label;
mod named;
mod safe;
#[cfg(test)]
mod tests;

use self::label::Label;
pub use self::{named::NamedMemory, safe::ShmSafe};

/// Whether this process may write up to `end` in a file: beyond its limit (`RLIMIT_FSIZE`) a write is no error but a SIGXFSZ.
///
/// # Errors
/// `EFBIG` if it may not.
pub fn may_reach(end: u64) -> io::Result<()> {
    Ok(memfd::may_reach(end)?)
}

/// A block of shared memory: a sealed memory file, mapped.
///
/// Clones and handed-over copies are the same memory. One descriptor; nothing in the file system.
///
/// # Crash safety
/// The memory lives as long as any process has it; when the last one is gone, however it went, the kernel frees it.
#[derive(Clone, Debug)]
pub struct SharedMemory(Arc<Mapping>);

impl SharedMemory {
    /// Makes a block of `len` bytes, all zero, all reserved: a lack of memory is an error here, never a SIGBUS later.
    ///
    /// # Errors
    /// `EINVAL` for length 0, `ENOMEM`/`ENOSPC` if memory is short, `EMFILE`/`ENFILE` if descriptors are.
    pub fn new(len: usize) -> io::Result<Self> {
        Self::anonymous(len, Reserve::Now)
    }

    /// Makes a block of `len` bytes of which only those pages take memory that have been written to.
    ///
    /// # Errors
    /// As [`new`](Self::new); but running out of memory later is a SIGBUS (a kill by the OOM killer).
    pub fn sparse(len: usize) -> io::Result<Self> {
        Self::anonymous(len, Reserve::Lazily)
    }

    fn anonymous(len: usize, reserve: Reserve) -> io::Result<Self> {
        let fd = memfd::sealed("proc-core", len as u64, reserve)?;
        Ok(Self(Arc::new(Mapping::new(fd, len)?)))
    }

    /// Maps a memory file that came from elsewhere.
    ///
    /// # Errors
    /// `EPERM` if its length is not sealed, so that its other users could cut it off, or if it cannot be written;
    /// `EINVAL` if it is none, or one of huge pages, which may be missing when it is touched.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let len = usize::try_from(memfd::sealed_len(&fd)?).map_err(io::Error::other)?;
        Ok(Self(Arc::new(Mapping::new(fd, len)?)))
    }

    /// Where it is mapped in this process; page-aligned. Valid as long as a handle exists.
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.0.ptr
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Always false; a block has at least one byte.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Gives the pages of `offset..offset + len` (whole pages inside it) back to the system; they read as zeros.
    ///
    /// # Errors
    /// `EINVAL` if the range is not inside the block.
    pub fn release(&self, offset: usize, len: usize) -> io::Result<()> {
        let end = offset.checked_add(len).filter(|end| *end <= self.0.len).ok_or(nix::errno::Errno::EINVAL)?;
        let pages = page::whole_inside(offset..end, page::size());
        if !pages.is_empty() {
            // SAFETY: inside the mapping.
            let start = unsafe { self.0.ptr.add(pages.start) };
            // SAFETY: the range lies inside the mapping; its users know it as memory that may change at any time.
            unsafe { madvise(start.cast(), pages.len(), MmapAdvise::MADV_REMOVE)? };
        }
        Ok(())
    }

    /// Whether two handles are the same memory.
    pub fn ptr_eq(a: &Self, b: &Self) -> bool {
        Arc::ptr_eq(&a.0, &b.0)
    }
}

impl AsFd for SharedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

impl AsRawFd for SharedMemory {
    fn as_raw_fd(&self) -> RawFd {
        self.0.fd.as_raw_fd()
    }
}

#[cfg(feature = "serde")]
impl Serialize for SharedMemory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        handover::check_sending::<Self, S>()?;
        // SAFETY: the descriptor is this value's own.
        unsafe { handover::serialize_fd(self.as_fd(), serializer) }
    }
}

#[cfg(feature = "serde")]
impl<'de> Deserialize<'de> for SharedMemory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_fd(handover::deserialize_fd(deserializer)?).map_err(de::Error::custom)
    }
}

#[derive(Debug)]
struct Mapping {
    fd: OwnedFd,
    ptr: NonNull<u8>,
    len: usize,
    /// Whether it stays mapped when there are no handles any more. See [`ShmSafe::is_pinned`].
    pinned: AtomicBool,
}

// SAFETY: an address range and a descriptor, both valid in every thread.
unsafe impl Send for Mapping {}
// SAFETY: as above; nothing is reachable through `&Mapping` but the raw pointer.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(fd: OwnedFd, len: usize) -> io::Result<Self> {
        let length = NonZero::new(len).ok_or(nix::errno::Errno::EINVAL)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches nothing that exists.
        let ptr = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE, &fd, 0)? };
        Ok(Self { fd, ptr: ptr.cast(), len, pinned: AtomicBool::new(false) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if *self.pinned.get_mut() {
            return;
        }
        // SAFETY: the range is this mapping's own, and there are no handles to it any more.
        let unmapped = unsafe { munmap(self.ptr.cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}

/// A value in shared memory, seen by every process that has a handle.
///
/// Clones and handed-over copies are the same value. Takes one descriptor and at least one page.
///
/// # Examples
/// ```
/// # use kernel as proc_core;
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
/// use proc_core::shm::Shared;
///
/// let counter = Shared::new(AtomicU64::new(1))?;
/// counter.clone().fetch_add(1, Relaxed);
/// assert_eq!(counter.load(Relaxed), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Shared<T: ShmSafe> {
    memory: SharedMemory,
    value: NonNull<T>,
}

// SAFETY: a handle to memory that every thread may use; `ShmSafe` requires `Sync`.
unsafe impl<T: ShmSafe> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: ShmSafe> Sync for Shared<T> {}

/// What stands in front of the value, so that a receiver can tell what it was given.
#[repr(C)]
struct Header {
    magic: AtomicU64,
    value_bytes: AtomicU64,
    /// The inode of its maker's pid namespace, 0 if that was unknown.
    namespace: AtomicU32,
    /// The begin of the value's type's name, for people who look into a running program.
    label: Label,
}

const MAGIC: u64 = u64::from_le_bytes(*b"pcShare3");
const VALUE_OFFSET: usize = 64;
const _: () = assert!(size_of::<Header>() <= VALUE_OFFSET);

impl<T: ShmSafe> Shared<T> {
    const LAYOUT: () = assert!(align_of::<T>() <= VALUE_OFFSET, "a shared value's alignment is at most 64 bytes");

    /// Moves `value` into fresh shared memory.
    ///
    /// # Errors
    /// As [`SharedMemory::new`].
    pub fn new(value: T) -> io::Result<Self> {
        let () = Self::LAYOUT;
        let memory = SharedMemory::new(VALUE_OFFSET + size_of::<T>().max(1))?;
        // SAFETY: the block is longer than `VALUE_OFFSET`.
        let place = unsafe { memory.as_ptr().add(VALUE_OFFSET) }.cast::<T>();
        // SAFETY: `place` is inside the block, aligned (`LAYOUT`), and no other thread knows the block yet.
        unsafe { place.write(value) };
        let header = header(&memory);
        // Relaxed, and then Release: a process that finds the magic number finds all of these, and the value.
        header.value_bytes.store(size_of::<T>() as u64, Ordering::Relaxed);
        header.namespace.store(PidNamespace::current().map_or(0, PidNamespace::inode), Ordering::Relaxed);
        label::write::<T>(&header.label);
        header.magic.store(MAGIC, Ordering::Release);
        Ok(Self { memory, value: place })
    }

    /// The value in a block that came from elsewhere.
    ///
    /// # Errors
    /// If the block does not hold a `T` put there by [`Shared::new`], as far as its size can tell.
    pub fn from_memory(memory: SharedMemory) -> io::Result<Self> {
        let () = Self::LAYOUT;
        if memory.len() < VALUE_OFFSET + size_of::<T>() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "shared memory is too short for its value"));
        }
        let header = header(&memory);
        if header.magic.load(Ordering::Acquire) != MAGIC
            || header.value_bytes.load(Ordering::Relaxed) != size_of::<T>() as u64
        {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "shared memory holds no such value"));
        }
        // SAFETY: the block is longer than `VALUE_OFFSET`, by the check above.
        let value = unsafe { memory.as_ptr().add(VALUE_OFFSET) }.cast();
        let namespace = PidNamespace::from_inode(header.namespace.load(Ordering::Relaxed));
        let shared = Self { memory, value };
        if namespace.is_none() || namespace != PidNamespace::current() {
            shared.note_other_namespaces();
        }
        Ok(shared)
    }

    /// The memory that it lives in.
    pub fn memory(&self) -> &SharedMemory {
        &self.memory
    }
}

fn header(memory: &SharedMemory) -> &Header {
    // SAFETY: every block is at least one page in length, aligned to it, and `Header` is made of atomics.
    unsafe { memory.as_ptr().cast::<Header>().as_ref() }
}

impl<T: ShmSafe> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: in bounds and aligned since construction; the memory lives as long as `self`; any bits are a `T`.
        unsafe { self.value.as_ref() }
    }
}

impl<T: ShmSafe> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self { memory: self.memory.clone(), value: self.value }
    }
}

impl<T: ShmSafe> Drop for Shared<T> {
    fn drop(&mut self) {
        // The last handle decides: a holder of a lock in there has a handle, unless it forgot its guard.
        // Relaxed: read when the last handle of the memory is dropped, which the count of handles orders after this.
        self.memory.0.pinned.store(self.is_pinned(), Ordering::Relaxed);
    }
}

#[cfg(feature = "serde")]
impl<T: ShmSafe> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        handover::check_sending::<Self, S>()?;
        self.memory.serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de, T: ShmSafe> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_memory(SharedMemory::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
