//! Bytes to text.
//!
//! Most texts in values are names and keys: short, and ASCII. The standard library looks at them byte by byte, which takes a
//! quarter of the time of reading one of 13 bytes; here they are looked at a word at a time.
//!
//! # Safety
//! Bytes below 0x80 are UTF-8, whatever stands around them.
#![allow(unsafe_code)]

use std::str::Utf8Error;

/// The text that `bytes` are.
#[inline]
pub(crate) fn from_utf8(bytes: &[u8]) -> Result<&str, Utf8Error> {
    if is_short_ascii(bytes) {
        // SAFETY: all of them are below 0x80.
        return Ok(unsafe { std::str::from_utf8_unchecked(bytes) });
    }
    std::str::from_utf8(bytes)
}

/// Whether all are below 0x80, and they are so few that this is the quicker way.
#[inline]
fn is_short_ascii(bytes: &[u8]) -> bool {
    /// The bits of the first and of the last `N`, which may overlap.
    #[inline]
    fn ends<const N: usize>(bytes: &[u8], word: fn([u8; N]) -> u128) -> u128 {
        match (bytes.first_chunk(), bytes.last_chunk()) {
            (Some(first), Some(last)) => word(*first) | word(*last),
            _ => u128::MAX,
        }
    }
    let bits = match bytes.len() {
        0..4 => bytes.iter().fold(0, |bits, byte| bits | byte).into(),
        4..8 => ends(bytes, |word| u32::from_ne_bytes(word).into()),
        8..=16 => ends(bytes, |word| u64::from_ne_bytes(word).into()),
        17..=32 => ends(bytes, u128::from_ne_bytes),
        _ => u128::MAX,
    };
    bits & u128::from_ne_bytes([0x80; 16]) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_text_where_the_standard_library_says_so() {
        for len in 0..40 {
            let ascii: Vec<u8> = (0..len).map(|at| if at % 2 == 0 { b'a' } else { 0x7f }).collect();
            assert_eq!(from_utf8(&ascii), std::str::from_utf8(&ascii));
            assert_eq!(is_short_ascii(&ascii), len <= 32, "{len}");
            for at in 0..len {
                for other in [&[0x80][..], &[0xff], "ß".as_bytes(), "€".as_bytes(), "🦀".as_bytes()] {
                    let mut bytes = ascii.clone();
                    bytes.splice(at..len.min(at + other.len()), other.iter().copied());
                    assert!(!is_short_ascii(&bytes), "{bytes:?}");
                    assert_eq!(from_utf8(&bytes), std::str::from_utf8(&bytes));
                }
            }
        }
    }
}
