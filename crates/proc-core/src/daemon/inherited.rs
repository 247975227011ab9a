//! Which descriptors this program was started with.
//!
//! Nothing tells them later from those that the program has opened and means its children to have. So a constructor,
//! earlier than those without a priority, takes note of what is open then; usually that is nothing, and takes 10 µs.
//!
//! # Safety
//! The constructor runs before `main`, on the only thread. The standard library needs no more than that to list a
//! directory.
#![allow(unsafe_code)]

use std::{
    os::fd::{BorrowedFd, RawFd},
    sync::OnceLock,
};

use kernel::place::FileId;

static AT_START: OnceLock<Vec<(RawFd, FileId)>> = OnceLock::new();

#[cfg(feature = "auto-entry")]
#[used]
#[unsafe(link_section = ".init_array.00100")]
static NOTE: extern "C" fn() = {
    extern "C" fn note() {
        if let Some(open) = open_now() {
            let _ = AT_START.set(open.into_iter().filter_map(|fd| Some((fd, id_of(fd)?))).collect());
        }
    }
    note
};

/// Whether the program was started with this descriptor, and has not put another file in its place.
///
/// Without the note (no `/proc` at the start, or without the feature `auto-entry`), all count as such.
pub(super) fn is_inherited(fd: RawFd) -> bool {
    AT_START.get().is_none_or(|noted| noted.iter().any(|(at, id)| *at == fd && id_of(fd) == Some(*id)))
}

/// The descriptors that are open, except the standard streams; `None` without a `/proc`.
pub(super) fn open_now() -> Option<Vec<RawFd>> {
    let open = std::fs::read_dir("/proc/self/fd").ok()?;
    let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Some(numbers.filter(|fd| *fd > 2).collect())
}

/// `None` if it is not open: what the directory was listed with is closed by then.
fn id_of(fd: RawFd) -> Option<FileId> {
    // SAFETY: the number is only asked for what lies there; if that is nothing, it is an error.
    FileId::of(unsafe { BorrowedFd::borrow_raw(fd) }).ok()
}
