//! Where blocks are mapped, and what memory they take.
//!
//! # Safety
//! As the [module](super)'s. A caller that asks for a block's address has claimed the block.
#![allow(unsafe_code)]

use std::{io, ptr::NonNull, sync::Arc, time::Duration};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, fallocate},
};

use super::{
    super::{layout::LARGE, windows::Window, word::BlockId},
    Segment,
    reserve::{offset, reserve},
};

/// How many large blocks stay mapped after their use, at most.
const KEPT_WINDOWS: usize = 16;

impl Segment {
    /// Where `len` bytes of a block are mapped, after mapping them if need be.
    pub(crate) fn block(&self, id: BlockId, len: usize) -> io::Result<BlockMemory> {
        let class = &self.geometry.classes[usize::from(id.class)];
        assert!(id.index < class.count && len <= class.block_bytes);
        let Some(windows) = self.windows.get(usize::from(id.class)) else {
            let window = self.large_window(id.index, len)?;
            return Ok(BlockMemory { start: window.start, _window: Some(window) });
        };
        let start = windows.of(class, id.index).get_or_map(|| {
            let bytes = class.per_window as usize * class.block_bytes;
            let first = id.index / class.per_window * class.per_window;
            Window::new(&self.fd, self.block_offset(BlockId { index: first, ..id }), bytes)
        })?;
        let inside = (id.index % class.per_window) as usize * class.block_bytes;
        // SAFETY: the window holds `per_window` blocks.
        let start = unsafe { start.add(inside) };
        Ok(BlockMemory { start, _window: None })
    }

    /// Where a short block is mapped, after mapping it if need be; `None` if there is no such block, or no address for it.
    #[inline(always)]
    pub(crate) fn cell(&self, id: BlockId) -> Option<NonNull<u8>> {
        let (class, windows) =
            (&self.geometry.classes[usize::from(id.class & 1)], &self.windows[usize::from(id.class & 1)]);
        if id.index >= class.count {
            return None;
        }
        let inside = (id.index & ((1 << class.window_shift) - 1)) as usize * class.block_bytes;
        match windows.of(class, id.index).get() {
            // SAFETY: the window holds `1 << window_shift` blocks.
            Some(start) => Some(unsafe { start.add(inside) }),
            None => self.block(id, 0).ok().map(|memory| memory.start),
        }
    }

    fn large_window(&self, index: u32, len: usize) -> io::Result<Arc<Window>> {
        // In a forked child, a thread that the child does not have may hold the lock for ever.
        let Some(mut kept) = self.large.try_lock_for(Duration::from_millis(100)) else {
            return Ok(Arc::new(Window::new(&self.fd, self.block_offset(BlockId { class: LARGE, index }), len)?));
        };
        if let Some(at) = kept.iter().position(|(i, window)| *i == index && window.len >= len) {
            return Ok(kept[at].1.clone());
        }
        kept.retain(|(i, _)| *i != index);
        if kept.len() >= KEPT_WINDOWS {
            kept.remove(0);
        }
        let bytes = len.next_power_of_two().min(self.geometry.classes[usize::from(LARGE)].block_bytes);
        let window = Arc::new(Window::new(&self.fd, self.block_offset(BlockId { class: LARGE, index }), bytes)?);
        window.populate(len);
        kept.push((index, window.clone()));
        Ok(window)
    }

    fn block_offset(&self, id: BlockId) -> u64 {
        let class = &self.geometry.classes[usize::from(id.class)];
        class.blocks_at + u64::from(id.index) * class.block_bytes as u64
    }

    /// Puts memory behind the first `len` bytes of a block.
    pub(crate) fn reserve_block(&self, id: BlockId, len: usize) -> io::Result<()> {
        reserve(&self.fd, self.block_offset(id), len)
    }

    /// Gives the memory of a block back; it then reads as zeros.
    pub(crate) fn release_block(&self, id: BlockId) -> io::Result<()> {
        let bytes = self.geometry.classes[usize::from(id.class)].block_bytes as u64;
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        retry(|| fallocate(&self.fd, flags, offset(self.block_offset(id)), offset(bytes)))
    }

    /// Reads a block's first bytes through the file instead of a mapping.
    pub(crate) fn read_block(&self, id: BlockId, into: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < into.len() {
            let at = offset(self.block_offset(id) + done as u64);
            match nix::sys::uio::pread(&self.fd, &mut into[done..], at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => done += n,
                Err(Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}

/// The memory of a block, mapped for as long as this value and its `Segment` live.
#[derive(Debug)]
pub(crate) struct BlockMemory {
    pub(crate) start: NonNull<u8>,
    _window: Option<Arc<Window>>,
}

// SAFETY: an address that is valid in every thread of the process.
unsafe impl Send for BlockMemory {}
// SAFETY: as above; reading and writing there is up to the block's owner.
unsafe impl Sync for BlockMemory {}

fn retry(mut call: impl FnMut() -> nix::Result<()>) -> io::Result<()> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            done => return Ok(done?),
        }
    }
}
