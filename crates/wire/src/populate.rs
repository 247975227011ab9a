//! Memory that is written to for the first time.
//!
//! # Safety
//! Only what is whole pages inside of memory that a vector has allocated, and has no values in, is given to the kernel.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

/// Has the kernel bring the pages in at once. One by one, as they are written to, takes as long as several copies. Where it is
/// refused, they come one by one.
pub(crate) fn populate<T>(spare: &mut [MaybeUninit<T>]) {
    // SAFETY: only asks.
    let Ok(page) = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }) else { return };
    let range = spare.as_mut_ptr_range();
    let begin = (range.start as usize).next_multiple_of(page);
    let Some(len) = (range.end as usize & !(page - 1)).checked_sub(begin) else { return };
    let first = range.start.cast::<libc::c_void>().with_addr(begin);
    // SAFETY: these are whole pages of the slice, which is borrowed here alone. What is in them does not change.
    let _ = unsafe { libc::madvise(first, len, libc::MADV_POPULATE_WRITE) };
}
