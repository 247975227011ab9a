//! How long a page of memory is: 4 KiB on x86-64; on aarch64 4, 16 or 64, as the kernel was built.
//!
//! # Safety
//! Asks for a number.
#![allow(unsafe_code)]

use std::{ops::Range, sync::OnceLock};

/// In bytes; a power of two.
pub fn size() -> usize {
    static SIZE: OnceLock<usize> = OnceLock::new();
    // SAFETY: takes an integer.
    *SIZE.get_or_init(|| usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).expect("Linux has pages"))
}

/// The whole pages inside a range of bytes, for pages of that size; an empty range if there are none.
pub(crate) fn whole_inside(bytes: Range<usize>, page_bytes: usize) -> Range<usize> {
    let end = bytes.end / page_bytes * page_bytes;
    bytes.start.checked_next_multiple_of(page_bytes).map_or(end, |start| start.min(end))..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_that_lie_inside_are_whole() {
        assert!(size().is_power_of_two());
        for page in [4 << 10, 16 << 10, 64 << 10] {
            assert_eq!(whole_inside(0..3 * page, page), 0..3 * page);
            assert_eq!(whole_inside(1..3 * page - 1, page), page..2 * page);
            for none in [0..0, 0..page - 1, 1..page, 1..2 * page - 1, usize::MAX - 1..usize::MAX] {
                assert!(whole_inside(none.clone(), page).is_empty(), "{none:?} {page}");
            }
        }
    }
}
