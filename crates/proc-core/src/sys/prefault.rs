//! Sparing children page faults.
//!
//! A fork copies the page table of memory that is private to the process, but not that of mapped files: code that the
//! parent runs every day is not mapped in the child, which pays a fault for every stretch of it. Unless a mapping has
//! a private page: then all of it is copied along. So one page of each mapped file is made private here, by writing a
//! byte of it back to itself.
//!
//! Measured: 28 faults fewer of 45 for a child that returns a number.

use std::{fs, os::unix::fs::FileExt};

/// Makes one page of each read-only file mapping private. What cannot be done is left: it only saves time.
pub(crate) fn copy_file_mappings_on_fork() {
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return };
    // Through this file even read-only memory can be written by its own process, without being writable for a moment.
    let Ok(memory) = fs::File::options().read(true).write(true).open("/proc/self/mem") else { return };
    for line in maps.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (range, access, inode) = (fields.next(), fields.next(), fields.nth(2));
        let read_only_file = matches!(access, Some("r--p" | "r-xp")) && inode.is_some_and(|inode| inode != "0");
        let start = range.and_then(|range| u64::from_str_radix(range.split_once('-')?.0, 16).ok());
        if let Some(start) = start.filter(|_| read_only_file) {
            let mut byte = [0];
            if memory.read_exact_at(&mut byte, start).is_ok() {
                let _ = memory.write_all_at(&byte, start);
            }
        }
    }
}

/// Takes the faults of the stack and the heap's first pages now, while nobody waits.
pub(crate) fn touch_own_memory() {
    let mut frame = [0_u8; 12 * 1024];
    std::hint::black_box(&mut frame)[0] = 1;
    for len in [16, 64, 256, 1024] {
        std::hint::black_box(vec![1_u8; len]);
    }
}
