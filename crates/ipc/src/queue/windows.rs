//! Parts of a queue's memory file that this process maps when it first needs them, and keeps mapped.
//!
//! # Safety
//! A window is a mapping of its own, which is undone only when nothing refers to it any more. The file is sealed against
//! shrinking, so every address in it stays valid.
#![allow(unsafe_code)]

use std::{
    io,
    num::NonZero,
    os::fd::OwnedFd,
    ptr::NonNull,
    sync::{
        OnceLock,
        atomic::{
            AtomicPtr,
            Ordering::{AcqRel, Acquire},
        },
    },
};

use nix::{
    errno::Errno,
    sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap},
};

use super::{
    layout::{Class, SECTIONS},
    word::Sections,
};

/// A mapped range of the file.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) start: NonNull<u8>,
    pub(super) len: usize,
}

// SAFETY: an address range that is valid in every thread.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

impl Window {
    pub(super) fn new(fd: &OwnedFd, at: u64, len: usize) -> io::Result<Self> {
        let length = NonZero::new(len).ok_or(Errno::EINVAL)?;
        let at = i64::try_from(at).map_err(|_| Errno::EINVAL)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE, fd, at)? };
        Ok(Self { start: start.cast(), len })
    }

    /// Maps the first `len` bytes at once instead of page by page, which takes several times as long. Where that
    /// is not possible they are mapped page by page.
    pub(super) fn populate(&self, len: usize) {
        // SAFETY: the range is this window's own; its bytes do not change.
        let _ = unsafe { madvise(self.start.cast(), len.min(self.len), MmapAdvise::MADV_POPULATE_WRITE) };
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: the range is this window's own, and what refers to it has gone before.
        let unmapped = unsafe { munmap(self.start.cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}

/// A window that is mapped at its first use.
///
/// | `start` | |
/// |---|---|
/// | null | not mapped yet |
/// | an address | mapped from there on, until the segment is dropped |
#[derive(Debug, Default)]
pub(super) struct LazyWindow {
    start: AtomicPtr<u8>,
}

impl LazyWindow {
    /// Where it is mapped, if it is.
    #[inline(always)]
    pub(super) fn get(&self) -> Option<NonNull<u8>> {
        // Acquire: the mapping is there when its address is.
        NonNull::new(self.start.load(Acquire))
    }

    /// Where it is mapped, after mapping it if need be.
    pub(super) fn get_or_map(&self, map: impl FnOnce() -> io::Result<Window>) -> io::Result<NonNull<u8>> {
        if let Some(start) = self.get() {
            return Ok(start);
        }
        let fresh = map()?;
        let null = std::ptr::null_mut();
        match self.start.compare_exchange(null, fresh.start.as_ptr(), AcqRel, Acquire) {
            Ok(_) => Ok(std::mem::ManuallyDrop::new(fresh).start),
            // Another thread was faster.
            Err(theirs) => NonNull::new(theirs).ok_or_else(|| Errno::EINVAL.into()),
        }
    }

    /// Unmaps it; it was made `len` bytes long.
    pub(super) fn unmap(&mut self, len: usize) {
        if let Some(start) = NonNull::new(std::mem::take(self.start.get_mut())) {
            drop(Window { start, len });
        }
    }
}

/// A table of which the first section is mapped with the control memory, and the others one by one.
#[derive(Debug, Default)]
pub(super) struct FurtherSections([LazyWindow; SECTIONS - 1]);

impl FurtherSections {
    /// Where the entry of an index is that is not in the first section; `None` if its section has not been mapped.
    #[inline]
    pub(super) fn entry(&self, sections: Sections, index: u32, entry_bytes: usize) -> Option<NonNull<u8>> {
        let section = sections.of(index);
        let start = self.0.get((section as usize).wrapping_sub(1))?.get()?;
        let inside = (index - sections.first(section)) as usize * entry_bytes;
        // SAFETY: the window holds every entry of its section.
        Some(unsafe { start.add(inside) })
    }

    /// Maps the sections that hold all indices below `end`; `place` says where in the file a section is, and how long.
    pub(super) fn map_up_to(
        &self,
        sections: Sections,
        end: u32,
        fd: &OwnedFd,
        place: impl Fn(u32) -> (u64, usize),
    ) -> io::Result<()> {
        let last = end.checked_sub(1).map_or(0, |last| sections.of(last));
        for (window, section) in self.0.iter().zip(1..=last) {
            window.get_or_map(|| {
                let (at, len) = place(section);
                Window::new(fd, at, len)
            })?;
        }
        Ok(())
    }

    pub(super) fn unmap(&mut self, place: impl Fn(u32) -> (u64, usize)) {
        for (window, section) in self.0.iter_mut().zip(1..) {
            if window.get().is_some() {
                window.unmap(place(section).1);
            }
        }
    }
}

/// The windows of a class of blocks that are mapped by the dozen.
#[derive(Debug)]
pub(super) struct BlockWindows {
    /// Those of the blocks whose records are in the control memory.
    near: Vec<LazyWindow>,
    /// Apart, so that the windows of a class are found without a multiplication.
    further: Box<[OnceLock<Vec<LazyWindow>>; SECTIONS - 1]>,
}

impl BlockWindows {
    pub(super) fn new(class: &Class) -> Self {
        let n_near = class.near.div_ceil(class.per_window);
        Self { near: (0..n_near).map(|_| LazyWindow::default()).collect(), further: Default::default() }
    }

    /// The window that a block, which exists, is in.
    #[inline(always)]
    pub(super) fn of(&self, class: &Class, index: u32) -> &LazyWindow {
        match self.near.get((index >> class.window_shift) as usize) {
            Some(window) => window,
            None => self.further(class, index),
        }
    }

    #[cold]
    fn further(&self, class: &Class, index: u32) -> &LazyWindow {
        let sections = class.sections();
        let section = sections.of(index);
        let windows = self.further[section as usize - 1]
            .get_or_init(|| (0..sections.len(section) / class.per_window).map(|_| LazyWindow::default()).collect());
        &windows[((index - sections.first(section)) / class.per_window) as usize]
    }

    pub(super) fn unmap(&mut self, class: &Class) {
        let bytes = class.per_window as usize * class.block_bytes;
        let further = self.further.iter_mut().filter_map(OnceLock::get_mut).flatten();
        self.near.iter_mut().chain(further).for_each(|window| window.unmap(bytes));
    }
}
