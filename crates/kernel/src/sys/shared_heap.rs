//! The heap of the C library's allocator, moved into a sealed memory file at the same addresses.
//!
//! A fork copies the page tables of private memory, and a process that ends takes them apart again: with 1 GiB, that takes
//! hundreds of milliseconds (measured on 4 KiB pages), and page tables of 2 MiB. A mapping of a file that was not written to
//! has nothing to copy: a forked child finds its pages in the file when it first reads them. So a process that has loaded
//! much, and is about to fork often, [`gather`](Gathering::begin)s all that it allocates on one heap and [`share`]s that.
//!
//! What is not moved: what the program maps itself, what an allocator other than the C library's maps, thread-locals, statics,
//! and up to 2 MiB at both ends of the heap. It works as before, and forks copy its page tables.
//!
//! Only the heap is moved, since its owner is known. Memory that is mapped by others may be given back to the kernel with
//! `MADV_DONTNEED` and be expected to read as zeros after that; from a file it would come back as it was when it was moved. The
//! C library's allocator does not rely on that.
//!
//! # Safety
//! Reads the heap as bytes, and maps a copy of its bytes over it. Nothing is written to it between the two: the calling thread is
//! found to be the only one, all signals are blocked meanwhile, and what happens here allocates nothing after the heap has been
//! looked up. The registers that the kernel itself writes to (thread-locals) are not on the heap, but for statically linked
//! programs, where they are at its start, which is not moved.
#![allow(unsafe_code)]

use std::{
    ops::Range,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use nix::errno::Errno;

use super::{memfd, proc_fs, signals};

/// What is copied, and then mapped, at a time; aligned to it, so that the kernel merges the mappings.
const STEP_BYTES: usize = 2 << 20;
/// What is looked at for being all zeros, and then left out of the file. No longer than a page: a hole costs nothing.
const BLOCK_BYTES: usize = 4096;

/// While it lives, the C library's allocator takes all memory from one heap, for all threads. Where the program has another
/// allocator, or is linked to another C library, it does nothing.
#[derive(Debug)]
#[must_use]
pub struct Gathering(());

impl Gathering {
    /// Begins.
    pub fn begin() -> Self {
        // A mapping of its own for a large piece could grow beyond the end of a file by `mremap`.
        set_parameter(Parameter::MaxMappings, 0);
        // With more than one, threads allocate in mappings.
        set_parameter(Parameter::MaxArenas, 1);
        Self(())
    }
}

impl Drop for Gathering {
    fn drop(&mut self) {
        // Its default.
        set_parameter(Parameter::MaxMappings, 65_536);
        // A change of any parameter ends their adaptation to what the program frees. These values are where it would end.
        set_parameter(Parameter::MappingThreshold, 32 << 20);
        set_parameter(Parameter::TrimThreshold, 64 << 20);
        set_parameter(Parameter::MaxArenas, 0);
    }
}

#[derive(Clone, Copy)]
enum Parameter {
    TrimThreshold,
    MappingThreshold,
    MaxMappings,
    MaxArenas,
}

#[cfg(target_env = "gnu")]
fn set_parameter(which: Parameter, value: i32) {
    let which = match which {
        Parameter::TrimThreshold => libc::M_TRIM_THRESHOLD,
        Parameter::MappingThreshold => libc::M_MMAP_THRESHOLD,
        Parameter::MaxMappings => libc::M_MMAP_MAX,
        Parameter::MaxArenas => libc::M_ARENA_MAX,
    };
    // SAFETY: takes integers; the allocator has a lock of its own.
    unsafe { libc::mallopt(which, value) };
}

#[cfg(not(target_env = "gnu"))]
fn set_parameter(_: Parameter, _: i32) {}

#[cfg(target_env = "gnu")]
fn trim() {
    // SAFETY: takes an integer; the allocator has a lock of its own.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(target_env = "gnu"))]
fn trim() {}

/// A step that cannot be undone has failed: a part of the heap is gone, and the process must end.
#[derive(Debug)]
pub struct HeapLost(pub Errno);

/// Moves the heap; returns how many bytes of it. Fewer than there are where the kernel refuses, and none in a process with other
/// threads.
///
/// # Errors
/// [`HeapLost`] if the kernel had no memory for a mapping, and had taken the old one away.
pub fn share() -> Result<usize, HeapLost> {
    if !proc_fs::thread_count().is_ok_and(|count| count == 1) {
        return Ok(0);
    }
    let _blocked = signals::block_all();
    // What has been freed is not to be copied.
    trim();
    let Some(heap) = heap().map(whole_steps).filter(|heap| !heap.is_empty()) else { return Ok(0) };
    // There every mapping that could be written to counts as if it had been.
    if counts_all_mappings() {
        return Ok(0);
    }
    let Ok(file) = memfd::growing("proc-core-preloaded", heap.len() as u64) else { return Ok(0) };
    let mut n_moved = 0;
    while n_moved < heap.len() {
        let step = heap.start + n_moved..heap.start + n_moved + STEP_BYTES;
        let bytes = std::ptr::slice_from_raw_parts(step.start as *const u8, STEP_BYTES);
        // SAFETY: a part of the heap, which is mapped and readable, and which no thread writes to.
        if copy(unsafe { &*bytes }, file.as_fd(), n_moved).is_err() {
            break;
        }
        // SAFETY: the file has there what the heap has, and no thread has written to it since.
        match unsafe { map_over(&step, file.as_fd(), n_moved) } {
            Ok(()) => n_moved += STEP_BYTES,
            Err(errno) if is_mapped(step.start) => {
                let _ = errno;
                break;
            }
            Err(errno) => return Err(HeapLost(errno)),
        }
    }
    // Where it fails, a child that may do everything could write to it by way of /proc; no other process has a descriptor.
    let _ = memfd::seal_contents(&file);
    Ok(n_moved)
}

/// The whole steps inside, but for one that begins with the heap.
fn whole_steps(heap: Range<usize>) -> Range<usize> {
    let start = (heap.start + 1).next_multiple_of(STEP_BYTES);
    let end = heap.end / STEP_BYTES * STEP_BYTES;
    start.min(end)..end
}

/// Its private, anonymous part, as far as it is one mapping.
fn heap() -> Option<Range<usize>> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with("[heap]"))?;
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let bound = |hex| usize::from_str_radix(hex, 16).ok();
    (fields.next()? == "rw-p").then_some(bound(start)?..bound(end)?)
}

fn counts_all_mappings() -> bool {
    std::fs::read("/proc/sys/vm/overcommit_memory").is_ok_and(|mode| mode.starts_with(b"2"))
}

fn copy(from: &[u8], file: BorrowedFd<'_>, at: usize) -> nix::Result<()> {
    let mut begin = 0;
    while begin < from.len() {
        let is_zero = |block: &[u8]| block.iter().all(|byte| *byte == 0);
        let is_hole = is_zero(&from[begin..begin + BLOCK_BYTES]);
        let mut end = begin + BLOCK_BYTES;
        while end < from.len() && is_zero(&from[end..end + BLOCK_BYTES]) == is_hole {
            end += BLOCK_BYTES;
        }
        while !is_hole && begin < end {
            let (bytes, offset) = (&from[begin..end], (at + begin) as i64);
            // SAFETY: reads as many bytes as the slice has.
            let n = unsafe { libc::pwrite(file.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), offset) };
            match Errno::result(n) {
                Ok(0) => return Err(Errno::EIO),
                Ok(n) => begin += n.cast_unsigned(),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        begin = end;
    }
    Ok(())
}

/// # Safety
/// The file has at that place what is mapped there now.
unsafe fn map_over(step: &Range<usize>, file: BorrowedFd<'_>, at: usize) -> nix::Result<()> {
    let place = std::ptr::with_exposed_provenance_mut(step.start);
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE;
    // SAFETY: the caller's.
    let mapped = unsafe { libc::mmap(place, step.len(), protection, flags, file.as_raw_fd(), at as i64) };
    if mapped == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(()) }
}

fn is_mapped(address: usize) -> bool {
    let mut residency = 0_u8;
    // SAFETY: only asks; the answer for one page has one byte.
    unsafe { libc::mincore(std::ptr::without_provenance_mut(address), 1, &raw mut residency) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_a_heap_stay() {
        const S: usize = STEP_BYTES;
        assert_eq!(whole_steps(7 * S + 1..9 * S + 5), 8 * S..9 * S);
        assert_eq!(whole_steps(7 * S..9 * S), 8 * S..9 * S);
        for small in [7 * S..8 * S, 7 * S + 1..8 * S + 1, 7 * S + 1..7 * S + 2] {
            assert!(whole_steps(small).is_empty());
        }
    }

    #[test]
    fn zeros_are_holes() {
        use std::os::unix::fs::{FileExt, MetadataExt};
        let mut bytes = vec![0; STEP_BYTES];
        bytes[BLOCK_BYTES..3 * BLOCK_BYTES].fill(7);
        bytes[STEP_BYTES - 1] = 9;
        let file = memfd::growing("test", 2 * STEP_BYTES as u64).unwrap();
        copy(&bytes, file.as_fd(), STEP_BYTES).unwrap();
        memfd::seal_contents(&file).unwrap();
        let file = std::fs::File::from(file);
        let mut back = vec![1; STEP_BYTES];
        file.read_exact_at(&mut back, STEP_BYTES as u64).unwrap();
        assert_eq!(back, bytes);
        assert!(file.metadata().unwrap().blocks() * 512 <= 3 * super::super::page::size() as u64);
        assert!(file.write_at(&[1], 0).is_err());
    }
}
