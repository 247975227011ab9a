//! The begin of a value's type's name, beside the value: for people who look into a running program.
#![cfg_attr(not(feature = "inspect"), allow(unreachable_pub))]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub(super) const LABEL_BYTES: usize = 40;

/// As words of shared memory; the bytes after the name are 0.
pub(super) type Label = [AtomicU64; LABEL_BYTES / 8];

/// As much of a type's name as a label has room for.
pub fn label_of<T: ?Sized>() -> &'static str {
    cut(std::any::type_name::<T>())
}

fn cut(name: &str) -> &str {
    let end = (0..=LABEL_BYTES.min(name.len())).rev().find(|end| name.is_char_boundary(*end));
    &name[..end.unwrap_or(0)]
}

/// Writes a type's name.
pub(super) fn write<T: ?Sized>(label: &Label) {
    for (word, chunk) in label.iter().zip(label_of::<T>().as_bytes().chunks(8)) {
        let mut whole = [0; 8];
        whole[..chunk.len()].copy_from_slice(chunk);
        // Relaxed: for people, and published with the header's magic number.
        word.store(u64::from_ne_bytes(whole), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cut_between_characters() {
        let name = "ä".repeat(LABEL_BYTES);
        assert_eq!(cut(&name), "ä".repeat(LABEL_BYTES / 2));
        assert_eq!(cut("short"), "short");
    }
}
