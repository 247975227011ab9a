//! Which threads there are, and whether they have some memory of ours.
//!
//! # Safety
//! Calls the kernel with integers.
#![allow(unsafe_code)]

use std::{fs, io};

use kernel::identity::PidNamespace;

/// Whether a thread of this pid namespace may be using the shared memory that this process has at `address`. True if that
/// cannot be told: of memory without a file, of another user's process, or without a `/proc` of this namespace.
pub(crate) fn may_use(tid: u32, address: usize) -> bool {
    if !exists(tid) {
        return false;
    }
    if !PidNamespace::is_that_of_proc() {
        return true;
    }
    let (Ok(mine), Ok(theirs)) = (maps_of("self"), maps_of(&tid.to_string())) else { return true };
    let here = mine.lines().filter_map(Mapped::parse).find(|mapped| (mapped.start..mapped.end).contains(&address));
    match here.and_then(|here| here.file()) {
        Some(file) => theirs.lines().filter_map(Mapped::parse).any(|mapped| mapped.file() == Some(file)),
        None => true,
    }
}

fn exists(tid: u32) -> bool {
    // SAFETY: takes two integers; signal 0 is none.
    let sent = unsafe { libc::syscall(libc::SYS_tkill, tid, 0) };
    sent == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

fn maps_of(process: &str) -> io::Result<String> {
    fs::read_to_string(format!("/proc/{process}/maps"))
}

/// A line of `/proc/PID/maps`.
struct Mapped<'a> {
    start: usize,
    end: usize,
    device: &'a str,
    inode: u64,
}

impl<'a> Mapped<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let hex = |text| usize::from_str_radix(text, 16).ok();
        let (start, end) = (hex(start)?, hex(end)?);
        let device = fields.nth(2)?;
        Some(Self { start, end, device, inode: fields.next()?.parse().ok()? })
    }

    /// What tells its file from others, if it has one.
    fn file(&self) -> Option<(&'a str, u64)> {
        (self.inode != 0).then_some((self.device, self.inode))
    }
}
